// The way to Fyers' login page and back.
import { call } from "../api/client";

/** Leave for Fyers' login; Fyers sends the browser back to the server, and that to this page. */
export async function goToFyers(switchAccount = false): Promise<void> {
  const { url } = await call("post", "/api/fyers/connect", { body: { switchAccount } });
  location.assign(url);
}
