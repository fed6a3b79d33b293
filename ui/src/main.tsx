// Starts the pages.
import { render } from "preact";
import { App } from "./app";
import { startClock } from "./live/clock";
import { startPreferences } from "./live/preferences";
import { startSocketChecks } from "./live/socket";
import { loadUser, startMarketRefresh } from "./live/store";
import { takeResetLink } from "./pages/reset";

const root = document.getElementById("app");
if (root) {
  takeResetLink();
  startPreferences();
  startClock();
  startSocketChecks();
  startMarketRefresh();
  render(<App />, root);
  void loadUser();
}
