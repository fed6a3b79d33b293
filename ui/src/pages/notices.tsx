// Notification settings: channels, their notices and tests, recent deliveries, and for admins the undelivered notices.
import { useSignal } from "@preact/signals";
import { type Delivery, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { ChannelCard } from "../parts/channel_card";
import { ChannelForm } from "../parts/channel_form";
import { DELIVERY_STATES, NOTICE_KINDS } from "../parts/channel_names";
import { DeadLetterList } from "../parts/dead_letters";
import { Empty, Loading, Problem } from "../parts/elements";
import { whenIst } from "../parts/format";
import { usePolled } from "../parts/polling";

const load = async () => {
  const [channels, deliveries] = await Promise.all([
    call("get", "/api/notifications/channels"), call("get", "/api/notifications/deliveries", { query: { limit: 30 } }),
  ]);
  return { ...channels, deliveries: deliveries.deliveries };
};

export function NoticesPage() {
  const { data, problem, reload } = usePolled(load);
  const secret = useSignal<{ label: string; value: string } | null>(null);
  if (!data.value) return problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={6} label="Loading your channels" />;
  const { channels, availableKinds, availableChannels, deliveries } = data.value;
  return (
    <div class="page notices-page">
      <div class="page-head"><h1>Notices</h1><p class="hint">The notices menu in the header shows every notice. Choose here which ones are also sent to you.</p></div>
      {secret.value && (
        <div class="shown-once" role="status">
          <p>Copy the signing secret of <b>{secret.value.label}</b> now. It is shown only once.</p>
          <p class="copy"><code data-shown-once>{secret.value.value}</code><button type="button" class="small" onClick={() => { secret.value = null; }}>Done</button></p>
        </div>
      )}
      {channels.length === 0
        ? <section class="panel"><Empty title="No channels yet">Add one below. You will hear about an expired session before the market opens.</Empty></section>
        : channels.map((one) => <ChannelCard key={one.id} channel={one} kinds={availableKinds} onChanged={reload} />)}
      <ChannelForm channels={availableChannels} kinds={availableKinds} onAdded={(made) => {
        if (made.signingSecret) secret.value = { label: made.channel.label, value: made.signingSecret };
        reload();
      }} />
      <section class="panel" aria-labelledby="deliveries"><h2 id="deliveries">Recent deliveries</h2>
        {deliveries.length === 0 ? <Empty title="No notice has been sent yet" /> : <Deliveries all={deliveries} />}
      </section>
      {user.value?.role === "admin" && <DeadLetterList />}
    </div>
  );
}

function Deliveries({ all }: { all: Delivery[] }) {
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Deliveries"><table>
      <thead><tr><th scope="col">When</th><th scope="col">Notice</th><th scope="col">Channel</th><th scope="col">Status</th><th scope="col" class="align-right">Attempts</th></tr></thead>
      <tbody>{all.map((one) => (
        <tr key={one.id} data-delivery={one.state}>
          <td class="num">{whenIst(one.createdAt, now.value)}</td>
          <th scope="row">{one.title}<span class="detail">{NOTICE_KINDS[one.kind]}</span></th>
          <td>{one.channelLabel}</td>
          <td><span class="state" data-state={DELIVERY_STATES[one.state][1]}><i class="dot" aria-hidden="true" />{DELIVERY_STATES[one.state][0]}</span>
            {one.lastError && one.state !== "sent" && <span class="detail">{one.lastError}</span>}</td>
          <td class="align-right">{one.attempts}</td>
        </tr>
      ))}</tbody>
    </table></div>
  );
}
