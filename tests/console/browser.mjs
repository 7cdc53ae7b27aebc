// SPDX-License-Identifier: BSD-3-Clause
// A real Chromium, and the steps that every test takes.
import assert from 'node:assert/strict';
import {existsSync, readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {join} from 'node:path';
import {ROOT, USERS} from './broker.mjs';

// They are installed outside the tree (scripts/test console), where an import wouldn't look.
const MODULES =
    process.env.OTA_NODE_MODULES ?? join(ROOT, 'build', 'console-tests', 'node_modules');
const require = createRequire(join(MODULES, 'x.js'));
const {chromium} = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const PATIENCE_MS = 15000;

export async function launch() {
    const executablePath = process.env.OTA_CHROMIUM ?? PLACES.find(existsSync);
    assert.ok(executablePath, 'there is no Chromium; apt-get install chromium');
    // Playwright leaves Chromium's sandbox away: root, as in a container, can't have it.
    return chromium.launch({executablePath});
}

// A page of its own; what it complains about is an error of the test that closes it.
export async function newPage(browser, broker, settings = {}) {
    const context = await browser.newContext({
        viewport: {width: 1280, height: 860},
        reducedMotion: 'reduce',
        locale: 'en-GB',
        ...settings,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.complaints = [];
    page.on('pageerror', (error) => page.complaints.push(String(error.stack)));
    page.on('console', (message) => {
        // A refused request is said by the browser itself; tests look at what the page says to it.
        if (
            message.type() === 'error' &&
            !/Failed to load resource|net::ERR/.test(message.text())
        ) {
            page.complaints.push(message.text());
        }
    });
    page.home = broker.url;
    page.end = async () => {
        await context.close();
        assert.deepEqual(page.complaints, []);
    };
    await page.goto(broker.url);
    return page;
}

export async function logIn(page, user = 'admin') {
    await page.getByLabel('User name').fill(user);
    await page.getByLabel('Password').fill(USERS[user]);
    await page.getByRole('button', {name: 'Log in'}).click();
    await page.locator('.shell').waitFor();
}

// By its address; waits for the view's data.
export async function visit(page, hash) {
    await page.evaluate((to) => {
        location.hash = to;
    }, hash);
    await settled(page);
}

export async function settled(page) {
    await page.waitForFunction(
        () => document.querySelector('h1') && !document.querySelector('.skeleton, .dry-run.busy'),
    );
}

// What axe finds serious or worse on the page as it is.
export async function accessProblems(page) {
    if (!(await page.evaluate(() => 'axe' in window))) {
        await page.evaluate(axe); // not by a script element: the page's policy forbids that
    }
    const {violations} = await page.evaluate(() =>
        window.axe.run(document, {resultTypes: ['violations']}),
    );
    return violations
        .filter(({impact}) => impact === 'serious' || impact === 'critical')
        .map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html.slice(0, 160)).join(' | ')}`);
}

// Pixels by which the page is wider than its window, or a table than its place.
export function overflow(page) {
    return page.evaluate(() => {
        const {scrollWidth, clientWidth} = document.documentElement;
        const tables = [...document.querySelectorAll('main table')];
        return Math.max(
            scrollWidth - clientWidth,
            ...tables.map((table) => table.offsetWidth - table.parentElement.clientWidth),
        );
    });
}

// Tests that go on where the one before ended: after a failure the rest is skipped.
export function story(test) {
    let broken = false;
    return (name, act) =>
        test(name, async (context) => {
            if (broken) {
                context.skip('a step before failed');
                return;
            }
            broken = true;
            await act();
            broken = false;
        });
}

export const row = (page, text) => page.getByRole('row').filter({hasText: text});
