// Creates a reset link for another user. The link is shown once.
import { useSignal } from "@preact/signals";
import { type Account, call } from "../api/client";
import { now } from "../live/clock";
import { Action, Dialog } from "./elements";
import { whenIst } from "./format";

export function ResetDialog({ account, onClose }: { account: Account; onClose: () => void }) {
  const made = useSignal<{ url: string; expiresAt: string } | null>(null);
  return (
    <Dialog title={`Reset the password of ${account.fullName}?`} onClose={onClose}>
      {made.value ? <>
        <div class="shown-once" role="status">
          <p>Give this link to {account.fullName} alone. It is shown only once, and works once until {whenIst(made.value.expiresAt, now.value)}.</p>
          <p class="copy"><code data-shown-once>{made.value.url}</code><Action class="small" run={() => navigator.clipboard.writeText(made.value?.url ?? "")}>Copy</Action></p>
        </div>
        <div class="buttons"><button type="button" class="primary" onClick={onClose}>Done</button></div>
      </> : <>
        <p>You get a link with which {account.fullName} chooses a new password. When it is used, all logins of this user end. A second factor stays on.</p>
        <div class="buttons">
          <Action class="primary" run={async () => { made.value = await call("post", "/api/admin/users/{user_id}/reset-link", { path: { user_id: account.userId } }); }}>Create reset link</Action>
          <button type="button" onClick={onClose}>Cancel</button>
        </div>
      </>}
    </Dialog>
  );
}
