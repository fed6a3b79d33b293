// Confirms the e-mail address of a channel with a mailed code.
import { useSignal } from "@preact/signals";
import { type Channel, call } from "../api/client";
import { Action, Field, Form } from "./elements";

export const sendCode = (channelId: string) =>
  call("post", "/api/notifications/channels/{channel_id}/code", { path: { channel_id: channelId } });

export function ConfirmAddress({ channel, onChanged }: { channel: Channel; onChanged: () => void }) {
  const isSent = useSignal(false);
  const confirm = async ({ code = "" }: Record<string, string>) => {
    await call("post", "/api/notifications/channels/{channel_id}/confirm", { path: { channel_id: channel.id }, body: { code } });
    onChanged();
  };
  const form = (
    <Form label="Confirm address" onSend={confirm}
      extra={<Action run={async () => { isSent.value = false; await sendCode(channel.id); isSent.value = true; }}>Send a new code</Action>}>
      {(fields) => <Field label="Code from the mail" error={fields.code} hint={isSent.value ? "A new code was mailed. Earlier codes are invalid now." : "The mail can take some minutes. Check your spam folder too."}
        input={{ name: "code", required: true, maxLength: 40, inputMode: "numeric", autocomplete: "one-time-code", placeholder: "1234-5678" }} />}
    </Form>
  );
  if (channel.proof === null) {
    return <div class="confirm"><p class="problem">This address is not confirmed. No notice is sent there until you enter the code that was mailed to it.</p>{form}</div>;
  }
  return <details class="confirm"><summary>Confirm this address for password resets</summary>{form}</details>;
}
