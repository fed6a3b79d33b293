// The form that adds a channel; its fields depend on the kind.
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type Channel, type NewChannel, call } from "../api/client";
import { KindBoxes } from "./channel_card";
import { CHANNEL_KINDS } from "./channel_names";
import { sendCode } from "./confirm_address";
import { Field, Form } from "./elements";

type Added = { channel: Channel; signingSecret: string | null };
const DEFAULT_KINDS: Channel["kinds"] = ["session_expiring", "session_disconnected", "login_renewed", "not_ready"];

const ADDRESS: Partial<Record<Channel["kind"], { label: string; hint: string; placeholder: string; type: "email" | "url" | "password" }>> = {
  email: { label: "E-mail address", hint: "Use an address that you read on your phone. hullwatch mails a code to it first.", placeholder: "you@example.com", type: "email" },
  webhook: { label: "Address", hint: "hullwatch sends a signed JSON POST to it. The signing secret is shown once, after adding.", placeholder: "https://example.com/hook", type: "url" },
  slack: { label: "Incoming webhook", hint: "Create it in Slack under Apps, Incoming Webhooks, Add.", placeholder: "https://hooks.slack.com/services/…", type: "password" },
  apprise: { label: "Apprise address", hint: "Any service that Apprise supports: ntfys://topic, discord://…, gotifys://…", placeholder: "ntfys://my-topic", type: "password" },
};

export function ChannelForm({ channels, kinds, onAdded }: { channels: Channel["kind"][]; kinds: Channel["kinds"]; onAdded: (made: Added) => void }) {
  const kind = useSignal<Channel["kind"]>(channels[0] ?? "webhook");
  const chosen = useSignal<Channel["kinds"]>(DEFAULT_KINDS);
  const address = ADDRESS[kind.value];
  const add = async ({ label = "", address: target = "", botToken = "", chat = "" }: Record<string, string>, form: HTMLFormElement) => {
    const body: NewChannel = { kind: kind.value, label, kinds: chosen.value, address: target, botToken, chat };
    const added = await call("post", "/api/notifications/channels", { body });
    onAdded(added);
    form.reset();
    if (added.channel.kind === "email") {
      await sendCode(added.channel.id);
      return "Channel added. Enter the code that was mailed to the address.";
    }
    return "Channel added. Send a test to check that it works.";
  };
  return (
    <section class="panel" aria-labelledby="add-channel"><h2 id="add-channel">Add a channel</h2>
      <Form label="Add channel" busyLabel="Adding …" onSend={add}>
        {(fields) => <>
          <div class="row">
            <Field label="Kind" error={fields.kind}>
              {(id) => <select id={id} value={kind.value} onChange={(event) => { kind.value = event.currentTarget.value as Channel["kind"]; }}>
                {channels.map((one) => <option key={one} value={one}>{CHANNEL_KINDS[one]}</option>)}</select>}
            </Field>
            <Field label="Channel name" error={fields.label} input={{ name: "label", required: true, maxLength: 120, placeholder: "my phone", autocomplete: "off" }} />
          </div>
          {!channels.includes("email") && <p class="hint">E-mail is not available, because this server has no mail server (<code>HULLWATCH_SMTP_HOST</code>).</p>}
          {address && <Field key={kind.value} label={address.label} hint={address.hint} error={fields.address}
            input={{ name: "address", type: address.type, required: true, maxLength: 2000, placeholder: address.placeholder, autocomplete: "off", spellcheck: false } as JSX.IntrinsicElements["input"]} />}
          {kind.value === "telegram" && <div class="row">
            <Field label="Bot token" hint="Get it from @BotFather." error={fields.botToken} input={{ name: "botToken", type: "password", required: true, autocomplete: "off" }} />
            <Field label="Chat" hint="A chat number or the @name of a channel. Send the bot a message first." error={fields.chat} input={{ name: "chat", required: true, autocomplete: "off", placeholder: "123456789" }} />
          </div>}
          <KindBoxes all={kinds} chosen={chosen.value} onChange={(newKinds) => { chosen.value = newKinds; }} />
        </>}
      </Form>
    </section>
  );
}
