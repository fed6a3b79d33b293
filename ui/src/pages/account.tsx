// Profile, password, API tokens.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Token, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { Action, Empty, Field, Form, Loading } from "../parts/bits";
import { whenIst } from "../parts/format";

export function AccountPage() {
  const who = user.value;
  return (
    <div class="page narrow">
      <h1>Account</h1>
      <section class="panel" aria-labelledby="profile">
        <h2 id="profile">Profile</h2>
        <dl class="facts"><dt>E-mail</dt><dd>{who?.email}</dd><dt>Role</dt><dd>{who?.role}</dd></dl>
        <Form label="Save name" onSend={async ({ fullName = "" }) => { user.value = await call("patch", "/api/auth/me", { body: { fullName } }); return "Saved."; }}>
          {(fields) => <Field label="Your name" error={fields.fullName} input={{ name: "fullName", required: true, autocomplete: "name", defaultValue: who?.fullName ?? "" }} />}
        </Form>
      </section>
      <section class="panel" aria-labelledby="password">
        <h2 id="password">Password</h2>
        <Form label="Change password" onSend={async ({ currentPassword = "", newPassword = "" }, form) => {
          await call("put", "/api/auth/password", { body: { currentPassword, newPassword } });
          form.reset();
          return "Changed. Your other browsers are signed out; API tokens stay.";
        }}>
          {(fields) => <div class="row">
            <input type="hidden" name="username" autocomplete="username" value={who?.email} />
            <Field label="Present password" error={fields.currentPassword} input={{ name: "currentPassword", type: "password", required: true, autocomplete: "current-password" }} />
            <Field label="New password" error={fields.newPassword} input={{ name: "newPassword", type: "password", required: true, autocomplete: "new-password" }} />
          </div>}
        </Form>
      </section>
      <Tokens />
    </div>
  );
}

function Tokens() {
  const all = useSignal<Token[] | null>(null);
  const made = useSignal("");
  const read = async () => { all.value = (await call("get", "/api/auth/tokens")).tokens; };
  useEffect(() => { read().catch(() => { all.value = []; }); }, []);
  return (
    <section class="panel" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      <p class="hint">For programs of yours: they send <code>Authorization: Bearer …</code> and may do what you may.</p>
      <Form label="Make a token" onSend={async ({ name = "" }, form) => {
        made.value = (await call("post", "/api/auth/tokens", { body: { name } })).token;
        form.reset();
        await read();
      }}>
        {(fields) => <Field label="What it is for" error={fields.name} input={{ name: "name", required: true, placeholder: "my laptop" }} />}
      </Form>
      {made.value && (
        <div class="once" role="status">
          <p>Copy it now; it is shown this once.</p>
          <p class="copy"><code data-once>{made.value}</code><Action class="small" run={() => navigator.clipboard.writeText(made.value)}>Copy</Action>
            <button type="button" class="small" onClick={() => { made.value = ""; }}>Done</button></p>
        </div>
      )}
      {!all.value ? <Loading rows={2} /> : all.value.length === 0 ? <Empty title="No tokens" /> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="API tokens"><table>
          <thead><tr><th scope="col">Name</th><th scope="col">Made</th><th scope="col">Last used</th><th scope="col"><span class="away">Actions</span></th></tr></thead>
          <tbody>{all.value.map((one) => (
            <tr key={one.id}><th scope="row">{one.name}</th><td class="num">{whenIst(one.createdAt, now.value)}</td><td class="num">{whenIst(one.lastUsedAt, now.value)}</td>
              <td class="acts"><Action class="small" run={async () => { await call("delete", "/api/auth/tokens/{token_id}", { path: { token_id: one.id } }); await read(); }}>End</Action></td></tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}
