// Adding a channel: each kind asks for what it needs.
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type Channel, type NewChannel, call } from "../api/client";
import { Field, Form } from "./bits";
import { KindBoxes } from "./channel_card";
import { CHANNELS } from "./channel_words";

type Added = { channel: Channel; signingSecret: string | null };
const FIRST: Channel["kinds"] = ["session_expiring", "session_disconnected", "login_renewed", "not_ready"];

const ADDRESS: Partial<Record<Channel["kind"], { label: string; hint: string; placeholder: string; type: "email" | "url" | "password" }>> = {
  email: { label: "E-mail address", hint: "Where you read it on your phone.", placeholder: "you@example.com", type: "email" },
  webhook: { label: "Address", hint: "Gets a signed POST of JSON. The signing secret is shown once, after adding.", placeholder: "https://example.com/hook", type: "url" },
  slack: { label: "Incoming webhook", hint: "In Slack: Apps, Incoming Webhooks, Add.", placeholder: "https://hooks.slack.com/services/…", type: "password" },
  apprise: { label: "Apprise address", hint: "Any service that Apprise knows: ntfys://topic, discord://…, gotifys://…", placeholder: "ntfys://my-topic", type: "password" },
};

export function ChannelForm({ channels, kinds, onAdded }: { channels: Channel["kind"][]; kinds: Channel["kinds"]; onAdded: (made: Added) => void }) {
  const kind = useSignal<Channel["kind"]>(channels[0] ?? "webhook");
  const chosen = useSignal<Channel["kinds"]>(FIRST);
  const address = ADDRESS[kind.value];
  const add = async ({ label = "", address: place = "", botToken = "", chat = "" }: Record<string, string>, form: HTMLFormElement) => {
    const body: NewChannel = { kind: kind.value, label, kinds: chosen.value, address: place, botToken, chat };
    onAdded(await call("post", "/api/notifications/channels", { body }));
    form.reset();
    return "Added. Send a test to see that it works.";
  };
  return (
    <section class="panel" aria-labelledby="add-channel"><h2 id="add-channel">Add a channel</h2>
      <Form label="Add channel" busyLabel="Looking at it …" onSend={add}>
        {(fields) => <>
          <div class="row">
            <Field label="Kind" error={fields.kind}>
              {(id) => <select id={id} value={kind.value} onChange={(event) => { kind.value = event.currentTarget.value as Channel["kind"]; }}>
                {channels.map((one) => <option key={one} value={one}>{CHANNELS[one]}</option>)}</select>}
            </Field>
            <Field label="What you call it" error={fields.label} input={{ name: "label", required: true, maxLength: 120, placeholder: "my phone", autocomplete: "off" }} />
          </div>
          {!channels.includes("email") && <p class="hint">E-mail is not offered: no mail server is set up here (<code>HULLWATCH_SMTP_HOST</code>).</p>}
          {address && <Field key={kind.value} label={address.label} hint={address.hint} error={fields.address}
            input={{ name: "address", type: address.type, required: true, maxLength: 2000, placeholder: address.placeholder, autocomplete: "off", spellcheck: false } as JSX.IntrinsicElements["input"]} />}
          {kind.value === "telegram" && <div class="row">
            <Field label="Bot token" hint="@BotFather gives it to you." error={fields.botToken} input={{ name: "botToken", type: "password", required: true, autocomplete: "off" }} />
            <Field label="Chat" hint="A number, or the @name of a channel. Write to the bot first." error={fields.chat} input={{ name: "chat", required: true, autocomplete: "off", placeholder: "123456789" }} />
          </div>}
          <KindBoxes all={kinds} chosen={chosen.value} onChange={(now) => { chosen.value = now; }} />
        </>}
      </Form>
    </section>
  );
}
