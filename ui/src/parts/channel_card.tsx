// One channel: its notices, on/off switch, delivery status and test.
import { useSignal } from "@preact/signals";
import { type Channel, type Delivery, call } from "../api/client";
import { now } from "../live/clock";
import { CHANNEL_KINDS, NOTICE_KINDS } from "./channel_names";
import { ConfirmAddress } from "./confirm_address";
import { Action, Icon } from "./elements";
import { age, whenIst } from "./format";

const POLL_MS = 500;
const TEST_TIMEOUT_MS = 90_000;

/** Send a test and wait until its first attempt has finished. */
async function sendTest(channel: Channel): Promise<Delivery | null> {
  const { deliveryId } = await call("post", "/api/notifications/channels/{channel_id}/test", { path: { channel_id: channel.id } });
  const deadline = Date.now() + TEST_TIMEOUT_MS;
  for (;;) {
    const { deliveries } = await call("get", "/api/notifications/deliveries", { query: { limit: 20 } });
    const found = deliveries.find((one) => one.id === deliveryId) ?? null;
    if (!found || found.attempts > 0 || Date.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const testResult = (test: Delivery | null): string => {
  if (!test) return "The test is no longer stored. Check the recent deliveries below.";
  if (test.state === "sent") return "Delivered. Check that it arrived.";
  return `Not delivered. ${test.lastError ?? "The test is still being sent."}`;
};

export function ChannelCard({ channel, kinds, onChanged }: { channel: Channel; kinds: Channel["kinds"]; onChanged: () => void }) {
  const result = useSignal("");
  const path = { channel_id: channel.id };
  const change = async (body: { kinds?: Channel["kinds"]; isOn?: boolean }) => {
    await call("patch", "/api/notifications/channels/{channel_id}", { path, body });
    onChanged();
  };
  const problem = useSignal("");
  const choose = (body: { kinds?: Channel["kinds"]; isOn?: boolean }) => {
    problem.value = "";
    change(body).catch((error: unknown) => { problem.value = error instanceof Error ? error.message : "The change was not saved. Try again."; onChanged(); });
  };
  const { health } = channel;
  const isConfirmed = channel.kind !== "email" || channel.proof !== null;
  return (
    <section class="panel channel" aria-label={channel.label} data-channel={channel.kind} data-on={channel.isOn}>
      <div class="panel-head">
        <h2>{channel.label}<span class="detail">{CHANNEL_KINDS[channel.kind]} · {channel.hint}</span></h2>
        <div class="buttons">
          <label class="check"><input type="checkbox" checked={channel.isOn} onChange={(event) => choose({ isOn: event.currentTarget.checked })} /> On</label>
          {isConfirmed && <Action class="small" run={async () => { result.value = ""; result.value = testResult(await sendTest(channel)); onChanged(); }}>Send a test</Action>}
          <Action class="quiet square" label={`Remove ${channel.label}`} run={async () => { await call("delete", "/api/notifications/channels/{channel_id}", { path }); onChanged(); }}><Icon name="trash" /></Action>
        </div>
      </div>
      {channel.kind === "email" && channel.proof !== "code" && <ConfirmAddress channel={channel} onChanged={onChanged} />}
      <KindBoxes all={kinds} chosen={channel.kinds} onChange={(chosen) => choose({ kinds: chosen })} />
      {problem.value && <p class="problem" role="alert">{problem.value}</p>}
      {result.value && <p class={result.value.startsWith("Delivered") ? "done" : "problem"} role="status">{result.value}</p>}
      {isConfirmed && <p class="hint" data-failing={health.failures > 0} data-proven={health.lastSentAt !== null}>
        {health.failures > 0 && `Failing since ${whenIst(health.failingSince, now.value)} (${health.failures} in a row). ${health.lastError ?? ""} `}
        {health.lastSentAt ? `Last delivered ${age(health.lastSentAt, now.value)} ago.`
          : <><b class="unproven">Not tested yet.</b> Send a test and check that it arrives.</>}
      </p>}
    </section>
  );
}

export function KindBoxes({ all, chosen, onChange }: { all: Channel["kinds"]; chosen: Channel["kinds"]; onChange: (kinds: Channel["kinds"]) => void }) {
  const shown = [...new Set([...all, ...chosen])];
  return (
    <fieldset class="kinds"><legend class="visually-hidden">Notices</legend>
      {shown.map((kind) => (
        <label key={kind} class="check"><input type="checkbox" checked={chosen.includes(kind)}
          onChange={(event) => onChange(event.currentTarget.checked ? [...chosen, kind] : chosen.filter((one) => one !== kind))} /> {NOTICE_KINDS[kind]}</label>
      ))}
    </fieldset>
  );
}
