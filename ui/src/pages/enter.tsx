// Signing in, and making an account.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { meta, signedIn } from "../live/store";
import { Field, Form } from "../parts/bits";

const INVITE = /#invite=([\w-]+)/;

/** Take the invite out of the address, so that it stays in no history. */
function takeInvite(): string {
  const found = INVITE.exec(location.hash)?.[1] ?? "";
  if (found) history.replaceState(null, "", "/");
  return found;
}

export function EnterPage() {
  const invite = useSignal(takeInvite());
  const isNew = useSignal(Boolean(invite.value));
  const mayRegister = meta.value?.registration === "open" || Boolean(invite.value);
  return (
    <main class="enter" id="main">
      <section class="panel">
        <p class="brand big"><img src="/icon.svg" alt="" width="40" height="40" />hullwatch</p>
        <h1>{isNew.value ? "Make your account" : "Sign in"}</h1>
        {isNew.value ? <Register invite={invite.value} /> : <SignIn />}
        {mayRegister
          ? <p class="switch">{isNew.value ? "You have an account? " : "New here? "}
              <button type="button" class="link" onClick={() => { isNew.value = !isNew.value; }}>{isNew.value ? "Sign in" : "Make an account"}</button></p>
          : <p class="switch hint">{meta.value?.registration === "closed"
              ? "Accounts are made by this server’s operator." : "To join, ask an admin for an invite link."}</p>}
      </section>
      <p class="hint">It watches; it never trades.</p>
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

function Register({ invite }: { invite: string }) {
  return (
    <Form label="Make account" onSend={async ({ email = "", password = "", fullName = "" }) => {
      signedIn(await call("post", "/api/auth/register", { body: { email, password, fullName, invite: invite || null } }));
    }}>
      {(fields) => <>
        <Field label="Your name" error={fields.fullName} input={{ name: "fullName", autocomplete: "name", required: true }} />
        <Field label="E-mail" error={fields.email} input={{ name: "email", type: "email", autocomplete: "username", required: true }} />
        <Field label="Password" error={fields.password} hint="A long one; a sentence is good."
          input={{ name: "password", type: "password", autocomplete: "new-password", required: true }} />
      </>}
    </Form>
  );
}
