// Opens Fyers' login page, after a question if the login would not return here or would probably fail.
import { signal } from "@preact/signals";
import { ApiError, call } from "../api/client";
import { Action, Dialog } from "./elements";

interface Options { switchAccount: boolean; ignoreAddress: boolean; ignoreOutage: boolean }
interface Question { kind: string; text: string; openAt: string; options: Options }

const question = signal<Question | null>(null);
const NO_OPTIONS: Options = { switchAccount: false, ignoreAddress: false, ignoreOutage: false };

/** Open Fyers' login page. After the login Fyers redirects to the server, which redirects to this page. */
export const openFyersLogin = (switchAccount = false): Promise<void> => open({ ...NO_OPTIONS, switchAccount });

async function open(options: Options): Promise<void> {
  try {
    const { url } = await call("post", "/api/fyers/connect", { body: options });
    location.assign(url);
  } catch (error) {
    if (!(error instanceof ApiError) || !["login-address-differs", "fyers-outage"].includes(error.kind)) throw error;
    question.value = { kind: error.kind, text: error.message, openAt: error.advice?.openAt ?? "", options };
  }
}

/** The question before a login that would not return here, or that would probably fail. */
export function LoginQuestion() {
  const asked = question.value;
  if (!asked) return null;
  const close = () => { question.value = null; };
  const isOutage = asked.kind === "fyers-outage";
  const options = { ...asked.options, ...(isOutage ? { ignoreOutage: true } : { ignoreAddress: true }) };
  return (
    <Dialog key={asked.kind} title={isOutage ? "Fyers has an outage" : "The login would not return to this page"} onClose={close}>
      <p>{asked.text}</p>
      <div class="buttons">
        {asked.openAt && <button type="button" class="primary" onClick={() => { location.assign(`${asked.openAt}/${location.hash}`); }}>Open {asked.openAt}</button>}
        <Action run={async () => { close(); await open(options); }}>Log in anyway</Action>
        <button type="button" onClick={close}>Cancel</button>
      </div>
    </Dialog>
  );
}
