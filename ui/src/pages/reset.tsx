// A new password with a reset link, also in a browser that nobody is signed in to.
import { signal, useSignal } from "@preact/signals";
import { call } from "../api/client";
import { Form } from "../parts/elements";
import { NewPassword } from "../parts/new_password";

const LINK = /^#reset=([\w-]+)/;

/** The value of the reset link that this page was opened with. */
export const resetLink = signal("");

/** Read the link and remove it from the address, so that the browser history does not keep it. */
export function takeResetLink(): void {
  const found = LINK.exec(location.hash)?.[1];
  if (!found) return;
  history.replaceState(null, "", "/");
  resetLink.value = found;
}

export function ResetPage() {
  const isDone = useSignal(false);
  const leave = () => { resetLink.value = ""; location.hash = "#/watch"; };
  return (
    <main class="sign-in" id="main">
      <section class="panel">
        <p class="brand big"><img src="/icon.svg" alt="" width="40" height="40" />hullwatch</p>
        <h1>{isDone.value ? "Your password is changed" : "Choose a new password"}</h1>
        {isDone.value ? <>
          <p>You are signed out everywhere. Sign in with the new password.</p>
          <div class="buttons"><button type="button" class="primary" onClick={leave}>Sign in</button></div>
        </> : <>
          <Form label="Change password" onSend={async ({ newPassword = "" }) => {
            await call("post", "/api/auth/reset", { body: { reset: resetLink.value, newPassword } });
            isDone.value = true;
          }}>
            {(fields) => <NewPassword error={fields.password} />}
          </Form>
          <p class="switch hint">This ends all your logins, API tokens and login links. <button type="button" class="link" onClick={leave}>Keep the present password</button></p>
        </>}
      </section>
    </main>
  );
}
