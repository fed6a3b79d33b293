// Loads data at once, again after each pushed admin event, and every few seconds while the tab is visible.
import { type Signal, effect, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { adminChanges } from "../live/store";

const POLL_MS = 5000;
const MIN_PAUSE_MS = 700;

export interface Polled<T> { data: Signal<T | null>; problem: Signal<string>; reload: () => void }

export function usePolled<T>(fetchData: () => Promise<T>, key = ""): Polled<T> {
  const data = useSignal<T | null>(null);
  const problem = useSignal("");
  const reloads = useSignal(0);
  useEffect(() => {
    let isCancelled = false;
    let isBusy = false;
    let mustReload = false;
    let soon: ReturnType<typeof setTimeout> | undefined;
    const load = async () => {
      if (isBusy) { mustReload = true; return; }
      isBusy = true;
      mustReload = false;
      try {
        const found = await fetchData();
        if (!isCancelled) { data.value = found; problem.value = ""; }
      } catch (error) {
        if (!isCancelled) problem.value = error instanceof Error ? error.message : "The data could not be loaded. Try again.";
      }
      setTimeout(() => { isBusy = false; if (mustReload && !isCancelled) void load(); }, MIN_PAUSE_MS);
    };
    const stop = effect(() => { void adminChanges.value; void reloads.value; soon = setTimeout(() => void load(), 0); });
    const timer = setInterval(() => { if (!document.hidden) void load(); }, POLL_MS);
    return () => { isCancelled = true; stop(); clearTimeout(soon); clearInterval(timer); };
  }, [key]);
  return { data, problem, reload: () => { reloads.value += 1; } };
}
