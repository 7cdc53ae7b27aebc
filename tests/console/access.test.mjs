// SPDX-License-Identifier: BSD-3-Clause
// For everybody: axe on each page in both themes, a phone's width, the keyboard alone.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {Broker} from './broker.mjs';
import {accessProblems, launch, logIn, newPage, overflow, row, settled, visit} from './browser.mjs';

const LONG = 'a-device-with-a-name-as-long-as-names-may-be-000';
const LONG_VERSION = '10.200.3000-rc.4_build.20261130-x';
const PAGES = [
    '/products',
    '/products/lamp/firmware',
    '/products/lamp/devices',
    '/products/lamp/versions',
    '/products/lamp/devices/lamp-01',
    `/products/lamp/devices/${LONG}`,
    '/products/empty/firmware',
    '/upgrade/lamp/devices',
    '/upgrade/lamp/tasks',
    '/upgrade/*/tasks',
    '/upgrade/lamp/batches',
    '/upgrade/lamp/batch?version=1.0.0',
    '/batches/1',
    '/batches/2',
    '/tasks/1',
    '/audit',
    '/tokens',
    '/system',
    '/nowhere',
];
const DIALOGS = [
    ['/products', 'Add product'],
    ['/products', 'Delete product lamp'],
    ['/products/lamp/firmware', 'Add Firmware'],
    ['/upgrade/lamp/devices', 'Upgrade firmware lamp-01'],
    ['/tokens', 'Make a token'],
    ['/tokens', 'Revoke token ci'],
    ['/batches/2', 'Cancel batch'],
    ['/batches/2', 'Add devices'],
    ['/batches/2', 'Change limits'],
];

let broker;
let browser;

before(async () => {
    [broker, browser] = await Promise.all([Broker.start(), launch()]);
    await broker.call('createProduct', {product: 'lamp', description: 'W'.repeat(256)});
    await broker.call('createProduct', {product: 'empty'});
    await broker.firmware('lamp', '2.0.0');
    await broker.firmware('lamp', LONG_VERSION.slice(0, 32), 1000, {description: 'x'.repeat(256)});
    await broker.devices(
        'lamp',
        {device: 'lamp-%02d', count: 3, version: '1.0.0'},
        '--fault',
        'fail:-4',
        '--fault-always',
    );
    await broker.call('createDevice', {
        product: 'lamp',
        device: LONG,
        description: 'M'.repeat(256),
        tags: ['t'.repeat(32), 'site=berlin'],
    });
    await broker.call('upgradeDevice', {
        product: 'lamp',
        device: LONG,
        version: LONG_VERSION.slice(0, 32),
    });
    await broker.call('createBatch', {
        product: 'lamp',
        version: '2.0.0',
        target: {fromVersions: ['1.0.0'], devices: ['lamp-01', 'lamp-02']},
        name: 'N'.repeat(200),
        stages: [{count: 1, minSuccessPercent: 1}, {percent: 100}],
    });
    await broker.call('createToken', {name: 'ci', role: 'admin'});
    await broker.call('createBatch', {
        product: 'lamp',
        version: '2.0.0',
        target: {devices: ['lamp-03']},
        draft: true,
    });
});
after(async () => {
    await browser?.close();
    await broker?.stop();
});

async function lookAt(page, name) {
    const wide = await overflow(page);
    return [
        ...(wide > 0 ? [`${name} is ${wide} pixels too wide`] : []),
        ...(await accessProblems(page)).map((problem) => `${name}: ${problem}`),
    ];
}

// A desk's window made smaller, to just above where the layout changes.
async function squeeze(page, name) {
    const {width, height} = page.viewportSize();
    const problems = [];
    for (const narrow of [1279, 1081, 821].filter((one) => one < width)) {
        await page.setViewportSize({width: narrow, height});
        const wide = await overflow(page);
        if (wide > 0) {
            problems.push(`${name} is ${wide} pixels too wide at ${narrow}`);
        }
    }
    await page.setViewportSize({width, height});
    return problems;
}

async function lookAtAll(settings, dialogs) {
    const page = await newPage(browser, broker, settings);
    const problems = await lookAt(page, 'login');
    await logIn(page);
    for (const path of PAGES) {
        await visit(page, path);
        problems.push(...(await lookAt(page, path)));
        problems.push(...(await squeeze(page, path)));
        assert.equal(await page.getByRole('heading', {level: 1}).count(), 1, path);
    }
    for (const [path, button] of dialogs) {
        await visit(page, path);
        await page.getByRole('button', {name: button}).first().click();
        await page.getByRole('dialog').waitFor();
        problems.push(...(await lookAt(page, `${path}: ${button}`)));
        await page.keyboard.press('Escape');
    }
    assert.deepEqual(problems, []);
    await page.end();
}

test("axe finds nothing serious: light, a desk's width", () =>
    lookAtAll({colorScheme: 'light'}, DIALOGS));

test("axe finds nothing serious, and nothing is too wide: dark, a phone's width", () =>
    lookAtAll({colorScheme: 'dark', viewport: {width: 380, height: 760}}, DIALOGS.slice(2, 4)));

// Tabs until that has the focus.
async function tabTo(page, locator) {
    for (let i = 0; i < 80; i += 1) {
        if (await locator.evaluate((node) => node === document.activeElement)) {
            return;
        }
        await page.keyboard.press('Tab');
    }
    throw new Error(`the keyboard doesn't reach ${locator}`);
}

test('the main job by keyboard alone', async () => {
    const page = await newPage(browser, broker);
    const {keyboard} = page;
    await tabTo(page, page.getByLabel('User name'));
    await keyboard.type('admin');
    await keyboard.press('Tab');
    await keyboard.type('correct horse');
    await keyboard.press('Enter');
    await page.getByRole('navigation', {name: 'Main'}).waitFor();
    await settled(page);

    await tabTo(page, page.getByRole('link', {name: 'Firmware Upgrade'}));
    await keyboard.press('Enter');
    await page.getByRole('heading', {name: 'Firmware Upgrade', level: 1}).waitFor();
    await page.getByLabel('Product').waitFor();
    await settled(page);
    await tabTo(page, page.getByLabel('Name begins with'));
    await keyboard.type('lamp-03');
    await row(page, LONG).waitFor({state: 'detached'});
    const upgrade = page.getByRole('button', {name: 'Upgrade firmware lamp-03'});
    await tabTo(page, upgrade);
    await keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    assert.ok(
        await dialog.evaluate((node) => node.contains(document.activeElement)),
        'the focus is in the dialog',
    );
    await keyboard.press('Escape');
    await dialog.waitFor({state: 'hidden'});
    assert.ok(await upgrade.evaluate((node) => node === document.activeElement), 'and comes back');
    await keyboard.press('Enter');
    await dialog.waitFor();
    await tabTo(page, dialog.getByRole('button', {name: 'Upgrade firmware'}));
    await keyboard.press('Enter');
    await page.getByText('lamp-03 is being upgraded').waitFor();
    await tabTo(page, page.getByRole('link', {name: 'Upgrade status list'}));
    await keyboard.press('Enter');
    await row(page, 'lamp-03').getByText('upgrade failed').waitFor();
    await page.end();
});
