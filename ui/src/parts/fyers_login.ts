// Opens Fyers' login page.
import { call } from "../api/client";

/** Open Fyers' login page. After the login Fyers redirects to the server, which redirects to this page. */
export async function openFyersLogin(switchAccount = false): Promise<void> {
  const { url } = await call("post", "/api/fyers/connect", { body: { switchAccount } });
  location.assign(url);
}
