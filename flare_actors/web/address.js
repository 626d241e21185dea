// What the page's own address says: where the server is, and which key it asks for.

const KEY_STORE = "flare-api-key";

/** The server's WebSocket, beside this page. */
export function socketUrl() {
  const url = new URL("flare", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url;
}

/** The API key from the address (`#key=...`), which it then leaves, or from this tab's memory. */
export function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key) {
    keepKey(key);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return key || sessionStorage.getItem(KEY_STORE);
}

/** Keep the key until this tab is closed. */
export function keepKey(key) {
  sessionStorage.setItem(KEY_STORE, key);
}

/** What the server says of itself; null where it cannot be asked. */
export async function health() {
  try {
    const answer = await fetch("healthz", { cache: "no-store" });
    return { ok: answer.ok, ...(await answer.json()) };
  } catch {
    return null;
  }
}
