// Consent to renewals by refresh token and PIN; nothing is shown where the server does not offer them.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Renewal, call } from "../api/client";
import { now } from "../live/clock";
import { connection } from "../live/store";
import { Action, Field, Form } from "./bits";
import { whenIst } from "./format";

export function RenewalPanel() {
  const known = useSignal<Renewal | null>(null);
  const read = async () => { known.value = await call("get", "/api/fyers/renewal"); };
  // A login brings a refresh token, which is stored right after the session; an end may have had a try.
  const session = connection.value;
  useEffect(() => { read().catch(() => undefined); }, [session?.connectedAt, session?.state, session?.verified]);
  const standing = known.value;
  if (!standing?.isOffered) return null;
  return (
    <section class="panel" aria-labelledby="renewal">
      <h2 id="renewal">Renewal without you</h2>
      <p class="lead" data-renewal={standing.isOptedIn ? "on" : "off"}>{standing.message}</p>
      {standing.isOptedIn && (
        <dl class="facts">
          <dt>Refresh token</dt><dd class="num">{standing.hasRefreshToken ? `good until ${whenIst(standing.refreshTokenExpiresAt, now.value)}` : "comes with your next login"}</dd>
          <dt>Last tried</dt><dd class="num">{whenIst(standing.lastTriedAt, now.value)}</dd>
        </dl>
      )}
      {standing.isOptedIn && <div class="buttons"><Action run={async () => { await call("delete", "/api/fyers/renewal"); await read(); }}>Stop renewing and delete both</Action></div>}
      <details key={String(standing.isOptedIn)}>
        <summary>{standing.isOptedIn ? "Enter another PIN" : "Let hullwatch renew my sessions"}</summary>
        <p class="hint">
          Your PIN at Fyers is kept on this server, encrypted, beside the refresh token of your last login. Whoever gets the server’s database <b>and</b> its
          key could open a Fyers session in your name. A renewal is tried once before your session ends and once when it is over; Fyers may refuse it,
          and then you log in as usual. You can take this back at any time, and both are deleted.
        </p>
        <Form label={standing.isOptedIn ? "Use this PIN" : "Renew my sessions"} onSend={async ({ pin = "" }, form) => {
          known.value = await call("put", "/api/fyers/renewal", { body: { pin } });
          form.reset();
        }}>
          {(wrong) => <Field label="PIN at Fyers" error={wrong["pin"]} hint="4 to 6 digits; it is never shown again."
            input={{ name: "pin", type: "password", inputMode: "numeric", pattern: "[0-9]{4,6}", maxLength: 6, required: true, autocomplete: "off" }} />}
        </Form>
      </details>
    </section>
  );
}
