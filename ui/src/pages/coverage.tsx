// How much of a day was watched: a line of the session, every gap with its reason, the last days; everybody's day for operators.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Signal, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { Empty, Icon, Loading, Problem } from "../parts/bits";
import { NONE, count, dayName, shortSymbol, span, when, words } from "../parts/format";
import { Timeline } from "../parts/timeline";

const DAY_MS = 86_400_000;
const IST_MS = 19_800_000;
const LISTED_DAYS = 30;
const EVERY_MS = 60_000;

/** The day in India at this moment, `2026-11-23`. */
const dayAt = (moment: number): string => new Date(moment + IST_MS).toISOString().slice(0, 10);

const share = (percent: number | null): string => (percent === null ? NONE : `${percent.toFixed(2).replace(/\.?0+$/, "")} %`);

export function CoveragePage() {
  const chosen = useSignal("");
  const latest = useSignal("");
  const today = dayAt(now.value);
  const choose = (day: string) => { chosen.value = day; scrollTo(0, 0); };
  return (
    <div class="page">
      <div class="page-head"><h1>Coverage</h1>
        <div class="filters">
          <label class="inline">Day <input type="date" value={chosen.value || latest.value} max={today}
            onChange={(event) => { chosen.value = event.currentTarget.value; }} /></label>
          <button type="button" class="small" disabled={!chosen.value} onClick={() => choose("")}>Latest</button>
        </div>
      </div>
      <OneDay day={chosen.value} onLatest={(day) => { latest.value = day; }} />
      <LastDays chosen={chosen.value} onChoose={choose} />
      {user.value?.role === "admin" && <Everybody day={chosen.value} />}
    </div>
  );
}

/** What was read for a key, again every so often; an answer for another key is never shown. */
function useRead<T>(read: () => Promise<T>, key: string) {
  const found = useSignal<{ key: string; data: T } | null>(null);
  const problem = useSignal("");
  const asked = useSignal(0);
  const minute = Math.floor(now.value / EVERY_MS);
  useEffect(() => {
    let isOver = false;
    read().then(
      (data) => { if (!isOver) { found.value = { key, data }; problem.value = ""; } },
      (error: unknown) => { if (!isOver) problem.value = error instanceof Error ? error.message : "It could not be read."; },
    );
    return () => { isOver = true; };
  }, [key, minute, asked.value]);
  const data = found.value?.key === key ? found.value.data : null;
  return { data, problem: problem.value, again: () => { asked.value += 1; } };
}

function OneDay({ day, onLatest }: { day: string; onLatest: (day: string) => void }) {
  const { data, problem, again } = useRead(() => call("get", "/api/monitoring/coverage", { query: { day } }), day);
  useEffect(() => { if (data && !day) onLatest(data.day); }, [data, day]);
  if (!data) return <section class="panel" aria-label="One day">{problem ? <Problem text={problem} onAgain={again} /> : <Loading label="Loading the day" />}</section>;
  const late = data.lateSignals ? `, ${count(data.lateSignals)} late` : "";
  return (
    <section class="panel" aria-labelledby="one-day">
      <h2 id="one-day">{dayName(data.day)}</h2>
      {data.sessions.length === 0 ? <Empty title="No trading on this day" /> : (
        <>
          <p class="day-sum num">{data.percent === null ? "Nothing was to be watched"
            : <>Watched <b>{span(data.watchedMinutes)}</b> of {span(data.wantedMinutes)} ({share(data.percent)}), blind <b>{span(data.blindMinutes)}</b></>};
            {" "}signals: {count(data.freshSignals)} in time{late}</p>
          <Timeline sessions={data.sessions} watched={data.watched} blind={data.stretches} />
          <ul class="legend"><li><i data-part="watched" />watched</li><li><i data-part="blind" />blind</li><li><i data-part="neither" />not wanted, not known or still to come</li></ul>
          {data.stretches.length === 0 ? <Empty title="No blind stretch">{data.percent !== null && "Everything that was wanted was watched."}</Empty> : (
            <div class="scroll" tabIndex={0} role="region" aria-label="Blind stretches table"><table class="gaps">
              <thead><tr><th scope="col">From, IST</th><th scope="col">To, IST</th><th scope="col" class="n">Length</th><th scope="col">Why</th><th scope="col">Late signals</th></tr></thead>
              <tbody>{data.stretches.map((one) => (
                <tr key={`${one.beganAt} ${one.reason}`} data-reason={one.reason}>
                  <th scope="row" class="num">{when(one.beganAt, now.value, true)}</th>
                  <td class="num">{when(one.endedAt, now.value, true)}</td>
                  <td class="n">{span(one.minutes)}</td>
                  <td>{one.sentence}</td>
                  <td class={one.lateSignals.length ? undefined : "none"}>{one.lateSignals.length === 0 ? NONE : <Late all={one.lateSignals} />}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
          {data.lateElsewhere.length > 0 && <p class="hint" data-late-elsewhere>Late outside blind stretches: <Late all={data.lateElsewhere} /></p>}
        </>
      )}
    </section>
  );
}

function Late({ all }: { all: Signal[] }) {
  return <>{all.map((late) => (
    <span key={`${late.watchId} ${late.rule} ${late.resolution} ${late.candleOpenedAt}`} class="sig" data-tone={late.direction}>
      <Icon name={late.direction} />{shortSymbol(late.symbol)} {late.direction} <span class="num sub">{when(late.candleClosedAt, now.value)}</span><span class="tag">late</span></span>
  ))}</>;
}

function LastDays({ chosen, onChoose }: { chosen: string; onChoose: (day: string) => void }) {
  const query = { from: dayAt(now.value - LISTED_DAYS * DAY_MS), to: dayAt(now.value) };
  const { data, problem, again } = useRead(() => call("get", "/api/monitoring/coverage/days", { query }), query.to);
  return (
    <section class="panel" aria-labelledby="last-days">
      <h2 id="last-days">Last days</h2>
      {!data ? (problem ? <Problem text={problem} onAgain={again} /> : <Loading label="Loading the last days" />) : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Last days table"><table class="days">
          <thead><tr><th scope="col">Day</th><th scope="col" class="n">Watched</th><th scope="col" class="n">Blind</th><th scope="col" class="n">Share</th><th scope="col">Blind because</th></tr></thead>
          <tbody>{data.days.map((one) => (
            <tr key={one.day} aria-current={one.day === chosen ? "true" : undefined}>
              <th scope="row"><button type="button" class="link symbol" onClick={() => onChoose(one.day)}>{dayName(one.day)}</button></th>
              <Sums of={one} />
              <td class={one.reasons.length ? undefined : "none"}>{because(one.reasons)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}

function Everybody({ day }: { day: string }) {
  const { data, problem, again } = useRead(() => call("get", "/api/admin/coverage", { query: { day } }), day);
  return (
    <section class="panel" aria-labelledby="everybody">
      <h2 id="everybody">All accounts{data && `, ${dayName(data.day)}`}</h2>
      {!data ? (problem ? <Problem text={problem} onAgain={again} /> : <Loading label="Loading all accounts" />) : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="All accounts table"><table class="days">
          <thead><tr><th scope="col">Account</th><th scope="col" class="n">Watched</th><th scope="col" class="n">Blind</th><th scope="col" class="n">Share</th><th scope="col">Blind because</th></tr></thead>
          <tbody>{data.accounts.map((one) => (
            <tr key={one.userId} data-account={one.email}>
              <th scope="row">{one.fullName}<span class="sub">{one.email}</span></th>
              <Sums of={one} />
              <td class={one.reasons.length ? undefined : "none"}>{because(one.reasons)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}

const Sums = ({ of: one }: { of: { watchedMinutes: number; blindMinutes: number; percent: number | null } }) => (
  <>
    <td class="n">{one.percent === null ? NONE : span(one.watchedMinutes)}</td><td class="n">{one.percent === null ? NONE : span(one.blindMinutes)}</td>
    <td class="n">{share(one.percent)}</td>
  </>
);

const because = (reasons: { reason: string; minutes: number }[]): string =>
  reasons.map((one) => `${words(one.reason)} ${span(one.minutes)}`).join(", ") || NONE;
