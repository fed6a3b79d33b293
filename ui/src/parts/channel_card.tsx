// One channel: what it carries, whether it is on, how it does, and a test that says how it went.
import { useSignal } from "@preact/signals";
import { type Channel, type Delivery, call } from "../api/client";
import { now } from "../live/clock";
import { Action, Icon } from "./bits";
import { CHANNELS, KINDS } from "./channel_words";
import { age, whenIst } from "./format";

const LOOK_AGAIN_MS = 500;
const LONGEST_MS = 90_000;

/** Send a test and look until its first attempt has ended. */
async function sendTest(channel: Channel): Promise<Delivery | null> {
  const { deliveryId } = await call("post", "/api/notifications/channels/{channel_id}/test", { path: { channel_id: channel.id } });
  const endsAt = Date.now() + LONGEST_MS;
  for (;;) {
    const { deliveries } = await call("get", "/api/notifications/deliveries", { query: { limit: 20 } });
    const found = deliveries.find((one) => one.id === deliveryId) ?? null;
    if (!found || found.attempts > 0 || Date.now() > endsAt) return found;
    await new Promise((look) => setTimeout(look, LOOK_AGAIN_MS));
  }
}

const verdict = (test: Delivery | null): string => {
  if (!test) return "The test is gone; look at the list below.";
  if (test.state === "sent") return "Delivered: look there.";
  return `Not delivered. ${test.lastError ?? "It is still on its way."}`;
};

export function ChannelCard({ channel, kinds, onChanged }: { channel: Channel; kinds: Channel["kinds"]; onChanged: () => void }) {
  const told = useSignal("");
  const path = { channel_id: channel.id };
  const change = async (body: { kinds?: Channel["kinds"]; isOn?: boolean }) => {
    await call("patch", "/api/notifications/channels/{channel_id}", { path, body });
    onChanged();
  };
  const problem = useSignal("");
  const choose = (body: { kinds?: Channel["kinds"]; isOn?: boolean }) => {
    problem.value = "";
    change(body).catch((error: unknown) => { problem.value = error instanceof Error ? error.message : "It did not work."; onChanged(); });
  };
  const { health } = channel;
  return (
    <section class="panel channel" aria-label={channel.label} data-channel={channel.kind} data-on={channel.isOn}>
      <div class="panel-head">
        <h2>{channel.label}<span class="sub">{CHANNELS[channel.kind]} · {channel.hint}</span></h2>
        <div class="buttons">
          <label class="check"><input type="checkbox" checked={channel.isOn} onChange={(event) => choose({ isOn: event.currentTarget.checked })} /> On</label>
          <Action class="small" run={async () => { told.value = ""; told.value = verdict(await sendTest(channel)); onChanged(); }}>Send a test</Action>
          <Action class="quiet square" label={`Remove ${channel.label}`} run={async () => { await call("delete", "/api/notifications/channels/{channel_id}", { path }); onChanged(); }}><Icon name="trash" /></Action>
        </div>
      </div>
      <KindBoxes all={kinds} chosen={channel.kinds} onChange={(chosen) => choose({ kinds: chosen })} />
      {problem.value && <p class="problem" role="alert">{problem.value}</p>}
      {told.value && <p class={told.value.startsWith("Delivered") ? "done" : "problem"} role="status">{told.value}</p>}
      <p class="hint" data-failing={health.failures > 0} data-proven={health.lastSentAt !== null}>
        {health.failures > 0 && `Failing since ${whenIst(health.failingSince, now.value)} (${health.failures} in a row). ${health.lastError ?? ""} `}
        {health.lastSentAt ? `Last delivered ${age(health.lastSentAt, now.value)} ago.`
          : <><b class="unproven">Not proven:</b> nothing was ever delivered here, and nobody but you can see whether it arrives. Send a test and look there.</>}
      </p>
    </section>
  );
}

export function KindBoxes({ all, chosen, onChange }: { all: Channel["kinds"]; chosen: Channel["kinds"]; onChange: (kinds: Channel["kinds"]) => void }) {
  const shown = [...new Set([...all, ...chosen])];
  return (
    <fieldset class="kinds"><legend class="away">Notices</legend>
      {shown.map((kind) => (
        <label key={kind} class="check"><input type="checkbox" checked={chosen.includes(kind)}
          onChange={(event) => onChange(event.currentTarget.checked ? [...chosen, kind] : chosen.filter((one) => one !== kind))} /> {KINDS[kind]}</label>
      ))}
    </fieldset>
  );
}
