// Starts the pages.
import { render } from "preact";
import { App } from "./app";
import { startClock } from "./live/clock";
import { startPreferences } from "./live/preferences";
import { startSocketChecks } from "./live/socket";
import { loadUser, startMarketRefresh } from "./live/store";

const root = document.getElementById("app");
if (root) {
  startPreferences();
  startClock();
  startSocketChecks();
  startMarketRefresh();
  render(<App />, root);
  void loadUser();
}
