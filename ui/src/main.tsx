// Begins the pages.
import { render } from "preact";
import { App } from "./app";
import { startClock } from "./live/clock";
import { keepPrefs } from "./live/prefs";
import { watchLine } from "./live/socket";
import { begin, keepMarketCurrent } from "./live/store";

const root = document.getElementById("app");
if (root) {
  keepPrefs();
  startClock();
  watchLine();
  keepMarketCurrent();
  render(<App />, root);
  void begin();
}
