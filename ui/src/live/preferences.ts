// Theme, chart choice and closed dialogs, kept in this browser.
import { effect, signal } from "@preact/signals";

const PREFIX = "hullwatch.";

function read(name: string): string | null {
  try { return localStorage.getItem(PREFIX + name); } catch { return null; }
}

function write(name: string, value: string): void {
  try { localStorage.setItem(PREFIX + name, value); } catch { /* storage is turned off in this browser */ }
}

export const theme = signal<"auto" | "dark" | "light">((read("theme") as "dark" | "light" | null) ?? "auto");
/** The incident whose dialog the user has closed. */
export const dismissed = signal(read("dismissed") ?? "");

export interface ChartChoice { symbol: string; resolution: string; period: number; rule: "cross" | "turn" }

export const chartChoice = signal<ChartChoice | null>(readChoice());

function readChoice(): ChartChoice | null {
  try { return JSON.parse(read("chart") ?? "null") as ChartChoice | null; } catch { return null; }
}

export function dismiss(incidentId: string): void {
  dismissed.value = incidentId;
  write("dismissed", incidentId);
}

export const isDark = signal(true);

export function startPreferences(): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = theme.value;
    isDark.value = chosen === "auto" ? system.matches : chosen === "dark";
    document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
  };
  effect(apply);
  system.addEventListener("change", apply);
  effect(() => { if (theme.value !== "auto") write("theme", theme.value); });
  effect(() => { if (chartChoice.value) write("chart", JSON.stringify(chartChoice.value)); });
  addEventListener("storage", (event) => {
    if (event.key === `${PREFIX}dismissed`) dismissed.value = event.newValue ?? "";
  });
}
