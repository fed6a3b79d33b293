// Shows the page named after the `#` in the address. The server serves one document for all pages.
import { signal } from "@preact/signals";
import { loadError, user } from "./live/store";
import { AccountPage } from "./pages/account";
import { AuditPage } from "./pages/audit";
import { CoveragePage } from "./pages/coverage";
import { FyersPage } from "./pages/fyers";
import { NoticesPage } from "./pages/notices";
import { ReadinessPage } from "./pages/readiness";
import { ResetPage, resetLink, takeResetLink } from "./pages/reset";
import { ServerPage } from "./pages/server";
import { SignInPage } from "./pages/sign_in";
import { TokenHealthPage } from "./pages/token_health";
import { WatchPage } from "./pages/watch";
import { Banners, ReconnectDialog } from "./parts/connection_status";
import { Empty, Loading } from "./parts/elements";
import { LoginQuestion } from "./parts/fyers_login";
import { Header } from "./parts/header";

const address = signal(location.hash);
addEventListener("hashchange", () => { takeResetLink(); address.value = location.hash; });

const PAGES: Record<string, () => preact.JSX.Element> = {
  watch: WatchPage, coverage: CoveragePage, fyers: FyersPage, notices: NoticesPage, account: AccountPage,
  readiness: ReadinessPage, health: TokenHealthPage, server: ServerPage, audit: AuditPage,
};
const ADMIN_PAGES = new Set(["readiness", "health", "server", "audit"]);

export function App() {
  if (resetLink.value) return <ResetPage />;
  if (user.value === undefined) return <Opening />;
  if (user.value === null) return <SignInPage />;
  const name = address.value.replace(/^#\/?/, "").split(/[/?]/)[0] || "watch";
  const Page = PAGES[name];
  const isAllowed = Page && (user.value.role === "admin" || !ADMIN_PAGES.has(name));
  return (
    <>
      <Header page={name} />
      <Banners />
      <main id="main" tabIndex={-1}>
        {isAllowed ? <Page key={user.value.id} /> : <Empty title={Page ? "This page is for admins" : "This page does not exist"}><a href="#/watch">Open your watchlist</a></Empty>}
      </main>
      <ReconnectDialog />
      <LoginQuestion />
    </>
  );
}

function Opening() {
  return (
    <main class="opening">
      {loadError.value ? <Empty title={loadError.value} /> : <Loading rows={3} label="Opening hullwatch" />}
    </main>
  );
}
