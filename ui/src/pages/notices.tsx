// Where notices travel beyond the page: channels, what each carries, tests, and how the last ones fared; for operators what was set aside.
import { useSignal } from "@preact/signals";
import { type Delivery, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { Empty, Loading, Problem } from "../parts/bits";
import { ChannelCard } from "../parts/channel_card";
import { ChannelForm } from "../parts/channel_form";
import { KINDS, STATES } from "../parts/channel_words";
import { whenIst } from "../parts/format";
import { usePolled } from "../parts/polled";
import { SetAsideList } from "../parts/set_aside";

const read = async () => {
  const [channels, deliveries] = await Promise.all([
    call("get", "/api/notifications/channels"), call("get", "/api/notifications/deliveries", { query: { limit: 30 } }),
  ]);
  return { ...channels, deliveries: deliveries.deliveries };
};

export function NoticesPage() {
  const { data, problem, again } = usePolled(read);
  const secret = useSignal<{ label: string; value: string } | null>(null);
  if (!data.value) return problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={6} label="Loading your channels" />;
  const { channels, availableKinds, availableChannels, deliveries } = data.value;
  return (
    <div class="page notices-page">
      <div class="page-head"><h1>Notices</h1><p class="hint">In the page you see all of them, behind the bell. Here you choose what reaches you elsewhere.</p></div>
      {secret.value && (
        <div class="once" role="status">
          <p>The signing secret of the webhook <b>{secret.value.label}</b>. Copy it now; it is shown this once.</p>
          <p class="copy"><code data-once>{secret.value.value}</code><button type="button" class="small" onClick={() => { secret.value = null; }}>Done</button></p>
        </div>
      )}
      {channels.length === 0
        ? <section class="panel"><Empty title="No channels yet">Add one below, and a dead session finds you before the bell.</Empty></section>
        : channels.map((one) => <ChannelCard key={one.id} channel={one} kinds={availableKinds} onChanged={again} />)}
      <ChannelForm channels={availableChannels} kinds={availableKinds} onAdded={(made) => {
        if (made.signingSecret) secret.value = { label: made.channel.label, value: made.signingSecret };
        again();
      }} />
      <section class="panel" aria-labelledby="deliveries"><h2 id="deliveries">Lately</h2>
        {deliveries.length === 0 ? <Empty title="Nothing was sent yet" /> : <Deliveries all={deliveries} />}
      </section>
      {user.value?.role === "admin" && <SetAsideList />}
    </div>
  );
}

function Deliveries({ all }: { all: Delivery[] }) {
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Deliveries"><table>
      <thead><tr><th scope="col">When</th><th scope="col">Notice</th><th scope="col">Channel</th><th scope="col">State</th><th scope="col" class="n">Attempts</th></tr></thead>
      <tbody>{all.map((one) => (
        <tr key={one.id} data-delivery={one.state}>
          <td class="num">{whenIst(one.createdAt, now.value)}</td>
          <th scope="row">{one.title}<span class="sub">{KINDS[one.kind]}</span></th>
          <td>{one.channelLabel}</td>
          <td><span class="state" data-state={STATES[one.state][1]}><i class="dot" aria-hidden="true" />{STATES[one.state][0]}</span>
            {one.lastError && one.state !== "sent" && <span class="sub">{one.lastError}</span>}</td>
          <td class="n">{one.attempts}</td>
        </tr>
      ))}</tbody>
    </table></div>
  );
}
