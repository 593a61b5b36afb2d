// Doing something, and saying how it went.

import { Refused } from "./client.js";

const OUTCOME_MS = 30_000;
const outcome = document.getElementById("outcome");
let timer = null;

// Calls `what`; says `done`, or what it makes of the answer, or why it was not done.
export async function act(what, done) {
  try {
    const answer = await what();
    say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    const why = error instanceof Refused && error.status === 412 ? "Somebody else changed it meanwhile." : error.message;
    say(`Not done: ${why}`, true);
    return null;
  } finally {
    document.dispatchEvent(new Event("look"));
  }
}

function say(text, isBad = false) {
  outcome.textContent = text;
  if (isBad) outcome.dataset.bad = "";
  else delete outcome.dataset.bad;
  outcome.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { outcome.hidden = true; }, OUTCOME_MS);
}
