// For operators: notices that could not be delivered, and what to do with them.
import { call } from "../api/client";
import { now } from "../live/clock";
import { Action, Empty, Loading, Problem } from "./bits";
import { CHANNELS } from "./channel_words";
import { whenIst } from "./format";
import { usePolled } from "./polled";

const read = async () => (await call("get", "/api/admin/deliveries")).deliveries;

export function SetAsideList() {
  const { data, problem, again } = usePolled(read);
  return (
    <section class="panel" aria-labelledby="set-aside"><h2 id="set-aside">Set aside, of all users</h2>
      {!data.value ? (problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={2} label="Loading what was set aside" />)
        : data.value.length === 0 ? <Empty title="Nothing was set aside" /> : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Set aside"><table>
          <thead><tr><th scope="col">When</th><th scope="col">Notice</th><th scope="col">Whose</th><th scope="col">Channel</th><th scope="col">Why</th><th scope="col" class="n">Attempts</th><th scope="col"><span class="away">Actions</span></th></tr></thead>
          <tbody>{data.value.map(({ delivery, email, channelKind, channelHint }) => {
            const path = { delivery_id: delivery.id };
            return (
              <tr key={delivery.id} data-set-aside={delivery.id}>
                <td class="num">{whenIst(delivery.endedAt, now.value)}</td>
                <th scope="row">{delivery.title}</th>
                <td>{email}</td>
                <td>{delivery.channelLabel}<span class="sub">{CHANNELS[channelKind]} · {channelHint}</span></td>
                <td>{delivery.lastError ?? "–"}</td>
                <td class="n">{delivery.attempts}</td>
                <td class="acts">
                  <Action class="small" run={async () => { await call("post", "/api/admin/deliveries/{delivery_id}/retry", { path }); again(); }}>Try again</Action>
                  <Action class="small" run={async () => { await call("delete", "/api/admin/deliveries/{delivery_id}", { path }); again(); }}>Discard</Action>
                </td>
              </tr>
            );
          })}</tbody>
        </table></div>
      )}
    </section>
  );
}
