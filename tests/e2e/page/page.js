// Talks to the product as the shipped client does: below /api, with the session cookie and no header of
// its own but the content type, and giving up after 20 seconds.

const GIVES_UP_AFTER_MS = 20_000;
let me = null;

async function ask(method, path, body, givesUpAfterMs = GIVES_UP_AFTER_MS) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), givesUpAfterMs);
  const options = { method, signal: controller.signal };
  if (body !== undefined) {
    options.headers = { 'Content-Type': 'application/json' };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, options);
    const answer = await response.json();
    return { status: response.status, ...answer };
  } catch (error) {
    return { aborted: error.name === 'AbortError', failed: String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function until(element, event, givesUpAfterMs = GIVES_UP_AFTER_MS) {
  return new Promise((resolve, reject) => {
    element.addEventListener(event, resolve, { once: true });
    element.addEventListener('error', () => reject(element.error.message), { once: true });
    setTimeout(() => reject(new Error(`no ${event}`)), givesUpAfterMs);
  });
}

async function loudness(path) {
  const bytes = await (await fetch(path)).arrayBuffer();
  const decoded = await new OfflineAudioContext(1, 44_100, 44_100).decodeAudioData(bytes);
  return decoded.getChannelData(0).reduce((loudest, each) => Math.max(loudest, Math.abs(each)), 0);
}

window.phone = {
  register: (account) => ask('POST', '/api/auth/register', account),

  async login(username, password) {
    const answer = await ask('POST', '/api/auth/login', { username, password });
    me = answer.user_id ?? null;
    return answer;
  },

  logout: () => ask('POST', '/api/auth/logout'),
  settings: () => ask('GET', `/api/users/${me}/settings`),
  saveSettings: (settings) => ask('PUT', `/api/users/${me}/settings`, settings),
  meta: () => ask('GET', `/api/users/${me}/meta`),
  voice: () => ask('GET', `/api/users/${me}/voice/meta`),
  touch: () => ask('POST', `/api/users/${me}/voice/pool/touch`),
  thought: (topic, value) => ask('POST', '/api/generate-thought', { topic, value }),

  async upload(sample) {
    const audio_base64 = await dataUrl(await (await fetch(sample)).blob());
    return ask('POST', `/api/users/${me}/voice`, { audio_base64 });
  },

  perform: (routine_type, value, givesUpAfterMs) =>
    ask('POST', '/api/perform', { user_id: me, routine_type, value }, givesUpAfterMs),

  async list() {
    const { recordings } = await ask('GET', '/v1/recordings');
    const shown = document.getElementById('recordings');
    shown.replaceChildren(...recordings.map(({ title, date }) => {
      const row = document.createElement('li');
      row.textContent = `${title}, ${date}`;
      return row;
    }));
    return recordings;
  },

  async play(path) {
    const player = document.getElementById('player');
    const ready = until(player, 'canplaythrough');
    player.src = path;
    await ready;
    const ended = until(player, 'ended');
    // To its last half second: whoever listens in a test has no evening.
    player.currentTime = Math.max(0, player.duration - 0.5);
    await player.play();
    await ended;
    return { duration: player.duration, loudness: await loudness(path) };
  },
};
