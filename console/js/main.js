// SPDX-License-Identifier: BSD-3-Clause
// Starts the page: who is here, then the view of the address.
import {fill, h} from './dom.js';
import {onReach, whoAmI} from './api.js';
import {refresh, setScope} from './live.js';
import {heading, newPage} from './page.js';
import {here, match} from './router.js';
import {onSession, session, setSession} from './session.js';
import {t} from './text.js';
import {applyTheme} from './theme.js';
import {empty, notice} from './components/empty.js';
import {shell} from './components/shell.js';
import {toasts} from './components/toast.js';
import {routes} from './routes.js';
import {loginView} from './views/login.js';

const RETRY_MS = 3000;

const root = h('div.root');
const banner = h('div.banner', {role: 'alert', hidden: true});
let frame = null;
let page = null;
let lost = false;
let user = null;

// A question belongs to the page that asked it.
function closeDialogs() {
    document.querySelectorAll('dialog').forEach((dialog) => dialog.close());
}

function showView() {
    const {path, query} = here();
    const found = match(routes, path);
    page?.end();
    closeDialogs();
    page = newPage(frame.main);
    frame.mark();
    fill(frame.main);
    setScope(found?.params.product && found.params.product !== '*' ? found.params.product : null);
    if (found) {
        found.view(page, found.params, query);
    } else {
        fill(frame.main, heading({title: t('missing.title')}), empty('search', t('missing.text')));
    }
    window.scrollTo(0, 0);
}

function onAddress() {
    if (!session()) {
        return;
    }
    showView();
    // A screen reader hears where it is.
    frame.main.querySelector('h1')?.focus({preventScroll: true});
}

function showLogin(ended) {
    page?.end();
    page = null;
    frame = null;
    fill(root, loginView(ended));
}

function showFrame() {
    frame = shell();
    fill(root, frame.node);
    showView();
}

onSession((now) => {
    const before = user;
    user = now;
    closeDialogs();
    if (now) {
        showFrame();
    } else {
        showLogin(before !== null);
    }
});

// --- the connection ------------------------------------------------------------------------------

async function knock() {
    try {
        const now = await whoAmI();
        if (!user || now?.user !== user.user || now?.role !== user.role) {
            setSession(now);
        } else {
            refresh();
        }
    } catch {
        setTimeout(knock, RETRY_MS);
    }
}

onReach((there) => {
    if (there === !lost) {
        return;
    }
    lost = !there;
    banner.hidden = there;
    fill(banner, there ? '' : notice('warn', t('lost')));
    if (lost) {
        setTimeout(knock, RETRY_MS);
    }
});

applyTheme();
fill(document.body, banner, root, toasts);
window.addEventListener('hashchange', onAddress);
knock();
