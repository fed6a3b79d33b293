// A combobox that searches the symbol master of the exchanges.
import { useSignal } from "@preact/signals";
import { useEffect, useId } from "preact/hooks";
import { type Instrument, call } from "../api/client";
import { Field } from "./elements";

const PAUSE_MS = 180;
const OUTCOMES: Record<string, string> = { no_data: "No symbol matches.", unavailable: "Fyers’ symbol list is unavailable now. Try again later." };

export function SymbolSearch({ value, onChoose, error, label = "Symbol" }: {
  value: string; onChoose: (symbol: string) => void; error?: string | undefined; label?: string;
}) {
  const text = useSignal(value);
  const found = useSignal<Instrument[]>([]);
  const message = useSignal("");
  const active = useSignal(-1);
  const isOpen = useSignal(false);
  const list = useId();

  useEffect(() => {
    const query = text.value.trim();
    if (!isOpen.value || !query) { found.value = []; message.value = ""; return undefined; }
    let isCancelled = false;
    const timer = setTimeout(async () => {
      try {
        const answer = await call("get", "/api/market/instruments", { query: { query: query.slice(0, 64), limit: 12 } });
        if (isCancelled) return;
        found.value = answer.instruments;
        active.value = answer.instruments.length ? 0 : -1;
        message.value = answer.instruments.length ? "" : OUTCOMES[answer.outcome] ?? "No symbol matches.";
      } catch (problem) {
        if (!isCancelled) message.value = problem instanceof Error ? problem.message : "";
      }
    }, PAUSE_MS);
    return () => { isCancelled = true; clearTimeout(timer); };
  }, [text.value, isOpen.value]);

  const choose = (symbol: string) => {
    text.value = symbol;
    isOpen.value = false;
    onChoose(symbol);
  };
  const onKey = (event: KeyboardEvent) => {
    const number = found.value.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (number) active.value = (active.value + (event.key === "ArrowDown" ? 1 : number - 1)) % number;
    } else if (event.key === "Enter" && isOpen.value && found.value[active.value]) {
      event.preventDefault();
      choose(found.value[active.value]?.symbol ?? "");
    } else if (event.key === "Escape" && isOpen.value) {
      event.preventDefault();
      event.stopPropagation();
      isOpen.value = false;
    }
  };
  const isShown = isOpen.value && (found.value.length > 0 || message.value !== "");
  return (
    <Field label={label} error={error} hint="Name, symbol or ISIN, such as SBIN, HDFC Bank or NSE:NIFTY50-INDEX.">
      {(id, about) => (
        <div class="combo">
          <input id={id} name="symbol" role="combobox" autocomplete="off" spellcheck={false} required value={text.value}
            aria-expanded={isShown} aria-controls={list} aria-autocomplete="list" aria-describedby={about}
            aria-activedescendant={isShown && active.value >= 0 ? `${list}-${active.value}` : undefined}
            onInput={(event) => { text.value = event.currentTarget.value; isOpen.value = true; onChoose(text.value.trim()); }}
            onKeyDown={onKey} onBlur={() => setTimeout(() => { isOpen.value = false; }, 150)} />
          <ul id={list} role="listbox" aria-label="Symbols found" hidden={!isShown}>
            {found.value.map((one, position) => (
              <li key={one.symbol} id={`${list}-${position}`} role="option" aria-selected={position === active.value}
                onPointerDown={(event) => { event.preventDefault(); choose(one.symbol); }}>
                <b>{one.symbol}</b><span>{one.description}</span>
              </li>
            ))}
            {message.value && <li role="option" aria-selected={false} aria-disabled="true">{message.value}</li>}
          </ul>
        </div>
      )}
    </Field>
  );
}
