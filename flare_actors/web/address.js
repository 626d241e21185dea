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

/**
 * Why a WebSocket was refused. Browsers hide it from the page, but the server gives the same answer to a plain request.
 *
 * @returns {Promise<"unauthorized" | "forbidden" | "busy" | "draining" | "refused" | "unreachable">}
 */
export async function diagnose(key) {
  try {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const { status } = await fetch("flare", { headers, cache: "no-store" });
    if (status === 401) return "unauthorized";
    if (status === 403) return "forbidden";
    if (status === 503) return "busy";
  } catch {
    return "unreachable";
  }
  return (await health())?.status === "draining" ? "draining" : "refused";
}

/** What the server says of itself; null where it cannot be asked. */
export async function health() {
  try {
    const answer = await fetch("healthz", { cache: "no-store" });
    return await answer.json();
  } catch {
    return null;
  }
}
