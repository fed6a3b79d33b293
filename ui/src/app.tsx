// Which page is shown: said behind the `#`, so that the server serves one document.
import { signal } from "@preact/signals";
import { trouble, user } from "./live/store";
import { AccountPage } from "./pages/account";
import { AuditPage } from "./pages/audit";
import { CoveragePage } from "./pages/coverage";
import { EnterPage } from "./pages/enter";
import { FyersPage } from "./pages/fyers";
import { HealthPage } from "./pages/health";
import { NoticesPage } from "./pages/notices";
import { ReadinessPage } from "./pages/readiness";
import { ServerPage } from "./pages/server";
import { WatchPage } from "./pages/watch";
import { Empty, Loading } from "./parts/bits";
import { Header } from "./parts/header";
import { Banners, ReconnectDialog } from "./parts/standing";

const where = signal(location.hash);
addEventListener("hashchange", () => { where.value = location.hash; });

const PAGES: Record<string, () => preact.JSX.Element> = {
  watch: WatchPage, coverage: CoveragePage, fyers: FyersPage, notices: NoticesPage, account: AccountPage,
  readiness: ReadinessPage, health: HealthPage, server: ServerPage, audit: AuditPage,
};
const FOR_ADMINS = new Set(["readiness", "health", "server", "audit"]);

export function App() {
  if (user.value === undefined) return <Waiting />;
  if (user.value === null) return <EnterPage />;
  const name = where.value.replace(/^#\/?/, "").split(/[/?]/)[0] || "watch";
  const Page = PAGES[name];
  const isAllowed = Page && (user.value.role === "admin" || !FOR_ADMINS.has(name));
  return (
    <>
      <Header page={name} />
      <Banners />
      <main id="main" tabIndex={-1}>
        {isAllowed ? <Page key={user.value.id} /> : <Empty title="There is no such page"><a href="#/watch">To your watchlist</a></Empty>}
      </main>
      <ReconnectDialog />
    </>
  );
}

function Waiting() {
  return (
    <main class="waiting">
      {trouble.value ? <Empty title={trouble.value} /> : <Loading rows={3} label="Opening hullwatch" />}
    </main>
  );
}
