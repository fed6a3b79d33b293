// Profile, password, logins, API tokens.
import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Login, type Token, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { Action, Dialog, Empty, Field, Form, Loading } from "../parts/elements";
import { whenIst } from "../parts/format";
import { NewPassword } from "../parts/new_password";

export function AccountPage() {
  const profile = user.value;
  return (
    <div class="page narrow">
      <h1>Account</h1>
      <section class="panel" aria-labelledby="profile">
        <h2 id="profile">Profile</h2>
        <dl class="facts"><dt>E-mail</dt><dd>{profile?.email}</dd><dt>Role</dt><dd>{profile?.role}</dd></dl>
        <Form label="Save name" onSend={async ({ fullName = "" }) => { user.value = await call("patch", "/api/auth/me", { body: { fullName } }); return "Name saved."; }}>
          {(fields) => <Field label="Your name" error={fields.fullName} input={{ name: "fullName", required: true, autocomplete: "name", defaultValue: profile?.fullName ?? "" }} />}
        </Form>
      </section>
      <section class="panel" aria-labelledby="password">
        <h2 id="password">Password</h2>
        <Form label="Change password" onSend={async ({ currentPassword = "", newPassword = "", everywhere }, form) => {
          const signOutEverywhere = everywhere === "on";
          await call("put", "/api/auth/password", { body: { currentPassword, newPassword, signOutEverywhere } });
          form.reset();
          changes.value += 1;
          return signOutEverywhere ? "Password changed. All other logins, API tokens and login links have ended."
            : "Password changed. Your other browsers are signed out; your API tokens still work.";
        }}>
          {(fields) => <><div class="row">
            <input type="hidden" name="username" autocomplete="username" value={profile?.email} />
            <Field label="Current password" error={fields.currentPassword} input={{ name: "currentPassword", type: "password", required: true, autocomplete: "current-password" }} />
            <NewPassword error={fields.password} />
          </div>
          <label class="check"><input type="checkbox" name="everywhere" /> Also end API tokens and login links</label></>}
        </Form>
      </section>
      <Logins />
      <Tokens key={changes.value} />
    </div>
  );
}

/** Counts changes that may have ended logins and tokens, so that both lists are read again. */
const changes = signal(0);

function Logins() {
  const logins = useSignal<Login[] | null>(null);
  const isAsking = useSignal(false);
  const load = async () => { logins.value = (await call("get", "/api/auth/logins")).logins; };
  useEffect(() => { load().catch(() => { logins.value = []; }); }, [changes.value]);
  return (
    <section class="panel" aria-labelledby="logins">
      <header class="panel-head"><h2 id="logins">Where you are signed in</h2>
        <button type="button" class="small" onClick={() => { isAsking.value = true; }}>Sign out everywhere</button></header>
      {!logins.value ? <Loading rows={2} /> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Browser logins"><table>
          <thead><tr><th scope="col">Browser</th><th scope="col">Signed in</th><th scope="col">Ends</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>{logins.value.map((one) => (
            <tr key={one.id}><th scope="row">{one.isCurrent ? "This browser" : "Another browser"}</th><td class="num">{whenIst(one.createdAt, now.value)}</td><td class="num">{whenIst(one.expiresAt, now.value)}</td>
              <td class="actions">{!one.isCurrent && <Action class="small" run={async () => { await call("delete", "/api/auth/logins/{login_id}", { path: { login_id: one.id } }); await load(); }}>Sign out</Action>}</td></tr>
          ))}</tbody>
        </table></div>
      )}
      {isAsking.value && (
        <Dialog title="Sign out everywhere?" onClose={() => { isAsking.value = false; }}>
          <p>All other browsers, all API tokens and all login links end at once. This browser stays signed in.</p>
          <div class="buttons">
            <Action class="primary danger" run={async () => { await call("post", "/api/auth/sign-out-everywhere"); changes.value += 1; isAsking.value = false; }}>Sign out everywhere</Action>
            <button type="button" onClick={() => { isAsking.value = false; }}>Cancel</button>
          </div>
        </Dialog>
      )}
    </section>
  );
}

function Tokens() {
  const tokens = useSignal<Token[] | null>(null);
  const created = useSignal("");
  const load = async () => { tokens.value = (await call("get", "/api/auth/tokens")).tokens; };
  useEffect(() => { load().catch(() => { tokens.value = []; }); }, []);
  return (
    <section class="panel" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      <p class="hint">For your own programs. They send <code>Authorization: Bearer …</code> and have the same rights as you.</p>
      <Form label="Create a token" onSend={async ({ name = "" }, form) => {
        created.value = (await call("post", "/api/auth/tokens", { body: { name } })).token;
        form.reset();
        await load();
      }}>
        {(fields) => <Field label="Token name" error={fields.name} input={{ name: "name", required: true, placeholder: "my laptop" }} />}
      </Form>
      {created.value && (
        <div class="shown-once" role="status">
          <p>Copy the token now. It is shown only once.</p>
          <p class="copy"><code data-shown-once>{created.value}</code><Action class="small" run={() => navigator.clipboard.writeText(created.value)}>Copy</Action>
            <button type="button" class="small" onClick={() => { created.value = ""; }}>Done</button></p>
        </div>
      )}
      {!tokens.value ? <Loading rows={2} /> : tokens.value.length === 0 ? <Empty title="No API tokens yet" /> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="API tokens"><table>
          <thead><tr><th scope="col">Name</th><th scope="col">Created</th><th scope="col">Last used</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>{tokens.value.map((one) => (
            <tr key={one.id}><th scope="row">{one.name}</th><td class="num">{whenIst(one.createdAt, now.value)}</td><td class="num">{whenIst(one.lastUsedAt, now.value)}</td>
              <td class="actions"><Action class="small" run={async () => { await call("delete", "/api/auth/tokens/{token_id}", { path: { token_id: one.id } }); await load(); }}>Revoke</Action></td></tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}
