// Finds a symbol in the exchange's symbol master: a combobox as ARIA has it.
import { useSignal } from "@preact/signals";
import { useEffect, useId } from "preact/hooks";
import { type Instrument, call } from "../api/client";
import { Field } from "./bits";

const PAUSE_MS = 180;
const OUTCOMES: Record<string, string> = { no_data: "Nothing of that name.", unavailable: "The symbol list cannot be fetched from Fyers just now." };

export function SymbolSearch({ value, onChoose, error, label = "Symbol" }: {
  value: string; onChoose: (symbol: string) => void; error?: string | undefined; label?: string;
}) {
  const text = useSignal(value);
  const found = useSignal<Instrument[]>([]);
  const note = useSignal("");
  const active = useSignal(-1);
  const isOpen = useSignal(false);
  const list = useId();

  useEffect(() => {
    const query = text.value.trim();
    if (!isOpen.value || !query) { found.value = []; note.value = ""; return undefined; }
    let isLate = false;
    const timer = setTimeout(async () => {
      try {
        const answer = await call("get", "/api/market/instruments", { query: { query: query.slice(0, 64), limit: 12 } });
        if (isLate) return;
        found.value = answer.instruments;
        active.value = answer.instruments.length ? 0 : -1;
        note.value = answer.instruments.length ? "" : OUTCOMES[answer.outcome] ?? "Nothing was found.";
      } catch (problem) {
        if (!isLate) note.value = problem instanceof Error ? problem.message : "";
      }
    }, PAUSE_MS);
    return () => { isLate = true; clearTimeout(timer); };
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
  const isShown = isOpen.value && (found.value.length > 0 || note.value !== "");
  return (
    <Field label={label} error={error} hint="Name, symbol or ISIN, as in SBIN, HDFC Bank or NSE:NIFTY50-INDEX.">
      {(id, about) => (
        <div class="combo">
          <input id={id} name="symbol" role="combobox" autocomplete="off" spellcheck={false} required value={text.value}
            aria-expanded={isShown} aria-controls={list} aria-autocomplete="list" aria-describedby={about}
            aria-activedescendant={isShown && active.value >= 0 ? `${list}-${active.value}` : undefined}
            onInput={(event) => { text.value = event.currentTarget.value; isOpen.value = true; onChoose(text.value.trim()); }}
            onKeyDown={onKey} onBlur={() => setTimeout(() => { isOpen.value = false; }, 150)} />
          <ul id={list} role="listbox" aria-label="Symbols found" hidden={!isShown}>
            {found.value.map((one, place) => (
              <li key={one.symbol} id={`${list}-${place}`} role="option" aria-selected={place === active.value}
                onPointerDown={(event) => { event.preventDefault(); choose(one.symbol); }}>
                <b>{one.symbol}</b><span>{one.description}</span>
              </li>
            ))}
            {note.value && <li role="option" aria-selected={false} aria-disabled="true">{note.value}</li>}
          </ul>
        </div>
      )}
    </Field>
  );
}
