// SPDX-License-Identifier: BSD-3-Clause
// Who is there and what he may; hostile text; a connection that is lost and returns.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {after, before, test} from 'node:test';
import {Broker} from './broker.mjs';
import {launch, logIn, newPage, row, settled, visit} from './browser.mjs';

const EVIL = '<img src=x onerror=window.hit=1>"\'><script>window.hit=1</script>{n}${1}';
const PAGES = [
    '/products',
    '/products/lamp/firmware',
    '/products/lamp/devices',
    '/products/lamp/devices/lamp-1',
    '/products/lamp/versions',
    '/upgrade/lamp/devices',
    '/upgrade/lamp/tasks',
    '/upgrade/lamp/batches',
    '/batches/1',
    '/tasks/1',
];
const CHANGES =
    /Add|Edit|Delete|Upgrade firmware|Batch upgrade|Cancel|Retry|Pause|Resume|Open next|Change limits|Hold|Back up/;

let broker;
let browser;

before(async () => {
    [broker, browser] = await Promise.all([Broker.start(), launch()]);
    await broker.call('createProduct', {product: 'lamp', description: EVIL});
    await broker.firmware('lamp', '1.0.0');
    await broker.firmware('lamp', '2.0.0', 1000, {description: EVIL});
    await broker.call('createDevice', {
        product: 'lamp',
        device: 'lamp-1',
        description: EVIL,
        tags: ['site=berlin'],
    });
    await broker.call('createBatch', {
        product: 'lamp',
        version: '2.0.0',
        target: {all: true},
        name: EVIL,
    });
});
after(async () => {
    await browser?.close();
    await broker?.stop();
});

// Buttons and links that change something, on all pages.
async function changesOffered(page) {
    const offered = [];
    for (const path of PAGES) {
        await visit(page, path);
        const names = await page
            .locator('main')
            .locator('button, a.button')
            .evaluateAll((nodes) =>
                nodes.map((node) => node.getAttribute('aria-label') ?? node.textContent),
            );
        offered.push(
            ...names.filter((name) => CHANGES.test(name)).map((name) => `${path}: ${name}`),
        );
    }
    return offered;
}

test('login: a wrong password, a user without a role, the right one, and out again', async () => {
    const page = await newPage(browser, broker);
    const say = async (user, password) => {
        await page.getByLabel('User name').fill(user);
        await page.getByLabel('Password').fill(password);
        await page.getByRole('button', {name: 'Log in'}).click();
    };
    await say('admin', 'wrong');
    const refusal = await page.getByRole('alert').filter({hasText: /./}).textContent();
    await say('ghost', 'wrong');
    assert.equal(await page.getByRole('alert').filter({hasText: /./}).textContent(), refusal); // tells nobody who exists
    await say('nobody', 'no role');
    await page.getByText('no role').waitFor();
    await visitDirectly(page, '/products/lamp/devices');
    await logIn(page);
    await row(page, 'lamp-1').waitFor(); // where he wanted to go
    await page.getByRole('button', {name: 'Log out'}).click();
    await page.getByRole('button', {name: 'Log in'}).waitFor();
    assert.equal(
        await page.evaluate(() => fetch('api/v1/session').then(({status}) => status)),
        401,
    );
    await page.end();
});

function visitDirectly(page, path) {
    return page.evaluate((to) => {
        location.hash = to;
    }, path);
}

test('a token: made, shown once, revoked', async () => {
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, '/tokens');
    await page.getByText('No tokens yet').waitFor();
    await page.getByRole('button', {name: 'Make a token'}).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('build server');
    await dialog.getByLabel('Role').selectOption('admin');
    await dialog.getByRole('button', {name: 'Make a token'}).click();
    await dialog.getByText('name must be 1 to 32').waitFor();
    await dialog.getByLabel('Name').fill('ci');
    await dialog.getByRole('button', {name: 'Make a token'}).click();
    const secret = await page.locator('code.secret').textContent();
    assert.match(secret, /^ota_[0-9a-f]{64}$/);
    const status = async () =>
        (
            await fetch(`${broker.url}api/v1/session`, {
                headers: {Authorization: `Bearer ${secret}`},
            })
        ).status;
    assert.equal(await status(), 200);
    await page.getByRole('button', {name: 'I have it'}).click();
    await row(page, 'ci').waitFor();
    assert.equal((await page.content()).includes(secret), false);
    await page.getByRole('button', {name: 'Revoke token ci'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Revoke', exact: true}).click();
    await page.getByText('No tokens yet').waitFor();
    assert.equal(await status(), 401);
    await page.end();
});

test('a viewer sees no button that would be refused', async () => {
    const page = await newPage(browser, broker);
    await logIn(page, 'viewer');
    assert.deepEqual(await changesOffered(page), []);
    assert.equal(await page.getByRole('link', {name: 'Audit'}).count(), 0);
    await visit(page, '/audit');
    await page.getByText('Only admins see the audit').waitFor();
    await visit(page, '/tokens');
    await page.getByText('Only admins see the tokens').waitFor();
    await visit(page, '/upgrade/lamp/batch');
    await page.getByText("Your role can't do this").waitFor();
    await page.end();
});

test('an operator upgrades, and neither adds nor deletes', async () => {
    const page = await newPage(browser, broker);
    await logIn(page, 'op');
    const offered = await changesOffered(page);
    assert.deepEqual(
        offered.filter((name) => /Add|Delete|Edit product/.test(name)),
        [],
    );
    for (const words of [
        'Upgrade firmware',
        'Batch upgrade firmware',
        'Cancel Task',
        'Pause',
        'Hold',
    ]) {
        assert.ok(
            offered.some((name) => name.includes(words)),
            words,
        );
    }
    await page.end();
});

test('hostile text in every field is text', async () => {
    const page = await newPage(browser, broker);
    await logIn(page);
    await broker.devices('lamp', {device: 'lamp-1', version: '1.0.0'}, '--fault', 'silent');
    const report = {
        type: 'report_progress',
        report: {progress: {state: 'fail', result_code: '-5', result_msg: EVIL}, version: '2.0.0'},
    };
    execFileSync('mosquitto_pub', [
        '-h',
        '127.0.0.1',
        '-p',
        String(broker.port),
        '-u',
        'lamp/lamp-1',
        '-i',
        'other',
        '-q',
        '1',
        '-t',
        '$ota/report/lamp/lamp-1',
        '-m',
        JSON.stringify(report),
    ]);
    await visit(page, '/tasks/1');
    await page.getByText('device says:').waitFor();

    // Typed in by hand, as far as the rules allow.
    await visit(page, '/products');
    await page.getByRole('button', {name: 'Edit product lamp'}).click();
    await page.getByRole('dialog').getByLabel('Description').fill(`${EVIL} typed`);
    await page.getByRole('dialog').getByRole('button', {name: 'Save'}).click();
    await row(page, ' typed').waitFor();
    await visit(page, '/products/lamp/firmware');
    await page.getByRole('button', {name: 'Add Firmware'}).click();
    await page.getByLabel('Firmware file').setInputFiles([
        {
            name: '<img src=x onerror=window.hit=1>.bin',
            mimeType: 'text/html',
            buffer: Buffer.from('x'),
        },
    ]);
    await page.getByRole('dialog').getByLabel('Firmware version').fill('3.0.0');
    await page.getByRole('dialog').getByLabel('Description').fill(EVIL);
    await page.getByRole('button', {name: 'Upload firmware'}).click();
    await row(page, '3.0.0').getByText('<img src=x onerror=window.hit=1>.bin').waitFor();
    await visit(page, '/upgrade/lamp/devices');
    await page.getByLabel('Name begins with').fill(EVIL);
    await page.getByText('1 to 48 English letters').waitFor();

    for (const path of [
        ...PAGES,
        '/upgrade/lamp/batch',
        '/audit',
        '/system',
        `/products/${encodeURIComponent(EVIL)}/firmware`,
        `/tasks/${encodeURIComponent(EVIL)}`,
        '/%E0%A4%A',
    ]) {
        await visit(page, path);
        assert.equal(await page.evaluate(() => window.hit), undefined, path);
        assert.equal(await page.locator('body img, body script, body iframe').count(), 0, path);
    }
    await visit(page, '/products/lamp/devices/lamp-1');
    await page.getByText(EVIL).first().waitFor(); // shown, letter by letter
    await page.end();
});

test("the policy forbids what the page doesn't do", async () => {
    const answer = await fetch(broker.url);
    const policy = answer.headers.get('content-security-policy');
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.match(policy, /frame-ancestors 'none'/);
});

test('a lost connection is told, and after its return the page is fresh', async () => {
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, '/products');
    await page.getByText('Live', {exact: true}).waitFor();
    await page.context().setOffline(true);
    await page.getByRole('button', {name: 'Add product'}).click();
    await page.getByRole('dialog').getByLabel('Product name').fill('clock');
    await page.getByRole('dialog').getByRole('button', {name: 'Add product'}).click();
    await page.getByText('The connection to the broker is lost').waitFor();
    await broker.call('createProduct', {product: 'meanwhile'});
    await page.context().setOffline(false);
    await page.getByText('The connection to the broker is lost').waitFor({state: 'hidden'});
    await page.keyboard.press('Escape');
    await visit(page, '/products');
    await row(page, 'meanwhile').waitFor();
    await page.end();
});

test('a restart of the broker: told, and back where it was after a login', async () => {
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, '/products/lamp/versions');
    await broker.kill();
    await page.getByText('The connection to the broker is lost').waitFor();
    await broker.run();
    await page.getByText('Your session has ended').waitFor();
    await logIn(page);
    await settled(page);
    await page.getByRole('img', {name: /Share of the fleet/}).waitFor();
    await page.getByText('Live', {exact: true}).waitFor();
    await page.end();
});

test('a session that ended elsewhere leads to the login, and back', async () => {
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, '/products/lamp/firmware');
    await page.context().clearCookies();
    await visitDirectly(page, '/products/lamp/devices');
    await page.getByText('Your session has ended').waitFor();
    await logIn(page);
    await row(page, 'lamp-1').waitFor();
    await page.end();
});

test('a device behind a gateway says behind which', async () => {
    const hub = {product: 'hub', device: 'hall'};
    await broker.call('createProduct', {product: hub.product});
    await broker.call('createDevice', hub);
    await broker.call('bindDevice', {
        product: 'lamp',
        device: 'lamp-1',
        gatewayProduct: hub.product,
        gateway: hub.device,
    });
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, '/products/lamp/devices/lamp-1');
    await page.getByRole('link', {name: 'hall'}).click();
    await page.getByRole('heading', {name: 'hall', level: 1}).waitFor();
    await settled(page);
    assert.equal(await page.getByText('Gateway', {exact: true}).count(), 0); // it has none itself
    await page.end();
});

test('a draft is filled by pasting names, and started', async () => {
    const {batch} = (
        await broker.call('createBatch', {
            product: 'lamp',
            version: '2.0.0',
            draft: true,
            reinstall: true,
            allowDowngrade: true,
            override: true,
        })
    ).batch;
    const page = await newPage(browser, broker);
    await logIn(page);
    await visit(page, `/batches/${batch}`);
    const add = async (names) => {
        await page.getByRole('button', {name: 'Add devices'}).first().click();
        await page.getByRole('dialog').getByLabel('Names of devices').fill(names);
        await page.getByRole('dialog').getByRole('button', {name: 'Add devices'}).click();
    };
    await add(' \n');
    await page.getByText('Paste at least one name.').waitFor();
    await page.keyboard.press('Escape');
    await add('lamp-1,nobody');
    await page.getByRole('dialog').getByText('nobody').last().waitFor();
    await page.keyboard.press('Escape');
    await add('lamp-1\nlamp-1; ,\n');
    await page.getByText('1 device was added.').waitFor();
    await page.getByRole('button', {name: 'Start', exact: true}).click();
    await page.getByText('1 of 1').or(page.getByText('0 of 1')).first().waitFor();
    await page.end();
});
