// Signing in and creating an account.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { meta, signedIn } from "../live/store";
import { Field, Form } from "../parts/elements";
import { NewPassword } from "../parts/new_password";

const INVITE = /#invite=([\w-]+)/;

/** Return the invite and remove it from the address, so that the browser history does not keep it. */
function takeInvite(): string {
  const found = INVITE.exec(location.hash)?.[1] ?? "";
  if (found) history.replaceState(null, "", "/");
  return found;
}

export function SignInPage() {
  const invite = useSignal(takeInvite());
  const isRegistering = useSignal(Boolean(invite.value));
  const isForgotten = useSignal(false);
  const canRegister = meta.value?.registration === "open" || Boolean(invite.value);
  return (
    <main class="sign-in" id="main">
      <section class="panel">
        <p class="brand big"><img src="/icon.svg" alt="" width="40" height="40" />hullwatch</p>
        <h1>{isForgotten.value ? "Forgotten password" : isRegistering.value ? "Create your account" : "Sign in"}</h1>
        {isForgotten.value ? <Forgotten /> : isRegistering.value ? <Register invite={invite.value} /> : <SignIn />}
        {!isRegistering.value && (meta.value?.canMailResets
          ? <p class="switch"><button type="button" class="link" onClick={() => { isForgotten.value = !isForgotten.value; }}>{isForgotten.value ? "Back to sign-in" : "Forgotten password?"}</button></p>
          : <p class="switch hint">Forgotten password? Ask an admin for a reset link.</p>)}
        {canRegister
          ? <p class="switch">{isRegistering.value ? "Already have an account? " : "New here? "}
              <button type="button" class="link" onClick={() => { isRegistering.value = !isRegistering.value; }}>{isRegistering.value ? "Sign in" : "Create an account"}</button></p>
          : <p class="switch hint">{meta.value?.registration === "closed"
              ? "An admin of this server creates the accounts." : "Ask an admin for an invite link to join."}</p>}
      </section>
      <p class="hint">Hull Moving Average signals on your Fyers watchlist. hullwatch never trades.</p>
    </main>
  );
}

function SignIn() {
  return (
    <Form label="Sign in" onSend={async ({ email = "", password = "" }) => {
      signedIn(await call("post", "/api/auth/login", { body: { email, password } }));
    }}>
      {() => <>
        <Field label="E-mail" input={{ name: "email", type: "email", autocomplete: "username", required: true }} />
        <Field label="Password" input={{ name: "password", type: "password", autocomplete: "current-password", required: true }} />
      </>}
    </Form>
  );
}

function Forgotten() {
  return (
    <Form label="Mail me a link" onSend={async ({ email = "" }) => {
      await call("post", "/api/auth/forgotten", { body: { email } });
      return "If this account has a confirmed e-mail address, a link is on its way there. It works once, for an hour. Otherwise ask an admin.";
    }}>
      {(fields) => <Field label="E-mail of your account" error={fields.email} input={{ name: "email", type: "email", autocomplete: "username", required: true }} />}
    </Form>
  );
}

function Register({ invite }: { invite: string }) {
  return (
    <Form label="Create account" onSend={async ({ email = "", password = "", fullName = "" }) => {
      signedIn(await call("post", "/api/auth/register", { body: { email, password, fullName, invite: invite || null } }));
    }}>
      {(fields) => <>
        <Field label="Your name" error={fields.fullName} input={{ name: "fullName", autocomplete: "name", required: true }} />
        <Field label="E-mail" error={fields.email} input={{ name: "email", type: "email", autocomplete: "username", required: true }} />
        <NewPassword label="Password" name="password" error={fields.password} />
      </>}
    </Form>
  );
}
