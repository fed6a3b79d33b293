"""The table at the end of a run."""

import textwrap
from collections.abc import Iterable

from prove.parts import Part
from prove.result import Conclusion, PartResult, add_up
from prove.stored_results import read

WIDTH = 110
MOST_FINDINGS = 10


def format_part(part: Part, of_commit: str) -> str:
    """Return the figures of a part with their results, or that it was not run."""
    results = read(of_commit, part.name)
    if not results:
        return f"{part.title} ({part.name}): not run"
    figures = add_up(results)
    width = max(len(figure.name) for figure in figures)
    lines = [f"{part.title} ({part.name}): {_runs(results)}"]
    lines += [f"  {figure.name:<{width}}  {figure.text}  {figure.conclusion}".rstrip() for figure in figures]
    findings = [finding for result in results for finding in result.findings]
    lines += [f"  ! {finding}" for finding in findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        lines.append(f"  ! and {len(findings) - MOST_FINDINGS} more")
    method = f"Method: {results[-1].method}"
    lines.append(textwrap.fill(method, WIDTH, initial_indent="  ", subsequent_indent="  "))
    return "\n".join(lines)


def _runs(results: list[PartResult]) -> str:
    return ", ".join(f"seed {one.seed} {one.size} {one.took_s:.0f} s" for one in results)


def conclusions(parts: Iterable[Part], of_commit: str) -> set[Conclusion]:
    """Return the results of all figures of these parts."""
    return {figure.conclusion for part in parts for figure in add_up(read(of_commit, part.name))}
