// The form that adds a symbol to the watchlist or changes one.
import { useSignal } from "@preact/signals";
import { type Watch, call } from "../api/client";
import { chartChoice } from "../live/preferences";
import { meta, refresh } from "../live/store";
import { Dialog, Field, Form } from "./elements";
import { resolutionName } from "./format";
import { SymbolSearch } from "./symbol_search";

export const RULES = { cross: "Price crosses its HMA", turn: "HMA changes direction" } as const;

export const ResolutionField = ({ value }: { value: string }) => (
  <Field label="Candles">
    {(id) => <select id={id} name="resolution">
      {(meta.value?.resolutions ?? [value]).map((code) => <option key={code} value={code} selected={code === value}>{resolutionName(code)}</option>)}
    </select>}
  </Field>
);

export function WatchForm({ watch, onDone }: { watch?: Watch; onDone?: () => void }) {
  const symbol = useSignal(watch?.symbol ?? "");
  const send = async (values: Record<string, string>) => {
    const body = { resolution: values.resolution ?? "5", period: Number(values.period), rule: values.rule === "turn" ? "turn" as const : "cross" as const };
    const saved = watch
      ? await call("patch", "/api/monitoring/watches/{watch_id}", { path: { watch_id: watch.id }, body })
      : await call("post", "/api/monitoring/watches", { body: { ...body, symbol: symbol.value.toUpperCase() } });
    chartChoice.value = { symbol: saved.symbol, resolution: saved.resolution, period: saved.period, rule: saved.rule };
    await refresh();
    onDone?.();
  };
  return (
    <Form onSend={send} label={watch ? "Save" : "Add to watchlist"}>
      {(fields) => <>
        {watch ? <p class="lead">{watch.symbol}</p>
          : <SymbolSearch value="" error={fields.symbol} onChoose={(chosen) => { symbol.value = chosen; }} />}
        <div class="row">
          <ResolutionField value={watch?.resolution ?? meta.value?.hmaResolution ?? "5"} />
          <Field label="HMA period" error={fields.period} input={{
            name: "period", type: "number", required: true, min: meta.value?.shortestPeriod ?? 2, max: meta.value?.longestPeriod ?? 1000,
            defaultValue: String(watch?.period ?? meta.value?.hmaPeriod ?? 55),
          }} />
          <Field label="Signal when">
            {(id) => <select id={id} name="rule">
              {Object.entries(RULES).map(([rule, text]) => <option key={rule} value={rule} selected={rule === watch?.rule}>{text}</option>)}
            </select>}
          </Field>
        </div>
        {watch && <p class="hint">The change applies to candles that close from now on.</p>}
      </>}
    </Form>
  );
}

export const WatchDialog = ({ watch, onClose }: { watch?: Watch | undefined; onClose: () => void }) => (
  <Dialog title={watch ? "Change this symbol" : "Add a symbol"} onClose={onClose}>
    {watch ? <WatchForm watch={watch} onDone={onClose} /> : <WatchForm onDone={onClose} />}
  </Dialog>
);
