// SPDX-License-Identifier: BSD-3-Clause
// A rollout that stops itself, steered by clicks; long lists; what happens is seen as it happens.
import assert from 'node:assert/strict';
import {after, before, test as single} from 'node:test';
import {Broker} from './broker.mjs';
import {launch, logIn, newPage, row, story, visit} from './browser.mjs';

const FLEET = 60;
const test = story(single);
let broker;
let browser;
let page;
let fleet;

before(async () => {
    [broker, browser] = await Promise.all([Broker.start(), launch()]);
    await broker.call('createProduct', {product: 'fleet'});
    await broker.firmware('fleet', '0.0.2');
    fleet = await broker.devices(
        'fleet',
        {device: 'node-%03d', count: FLEET},
        '--mix',
        'ok=50,fail:-4=30,fail:-2=20',
        '--fault-always',
    );
    page = await newPage(browser, broker);
    await logIn(page);
});
after(async () => {
    await browser?.close();
    await broker?.stop();
});

const dialog = () => page.getByRole('dialog');
const button = (name) => page.locator('.page-head').getByRole('button', {name}).click();

test('a page of a long list at a time', async () => {
    await visit(page, '/products/fleet/devices');
    await page.getByText('1–50 of 60').waitFor();
    assert.equal(await page.getByRole('row').count(), 51);
    await page.getByRole('button', {name: 'Next'}).click();
    await page.getByText('51–60 of 60').waitFor();
    assert.equal(await page.getByRole('row').count(), 11);
    await page.getByRole('button', {name: 'Previous'}).click();
    await row(page, 'node-001').waitFor();
    await page.getByLabel('Name begins with').fill('node-05');
    await page.getByText('1–10').waitFor();
    assert.match(await page.evaluate(() => location.hash), /prefix=node-05/);
});

test('pressed again before the page came, it turns one page', async () => {
    await visit(page, '/products/fleet/devices');
    await page.getByText('1–50 of 60').waitFor();
    await page.getByRole('button', {name: 'Next'}).click();
    await page.getByText('51–60 of 60').waitFor();
    let letIn;
    const late = new Promise((resolve) => (letIn = resolve));
    await page.route('**/api/v1/control', async (route) => {
        await late;
        await route.continue();
    });
    const previous = page.getByRole('button', {name: 'Previous'});
    await previous.click();
    await previous.click();
    letIn();
    await page.getByText('1–50 of 60').waitFor();
    assert.equal(await previous.isDisabled(), true);
    await page.unroute('**/api/v1/control');
});

test('the form: stages of my own, a dry run, and the question says to how many', async () => {
    await visit(page, '/upgrade/fleet/batch?version=0.0.1');
    await page.getByText('60 devices would be upgraded to 0.0.2.').waitFor();
    await page.getByLabel('Stages of my own').check();
    const stages = page.getByRole('group', {name: 'Stages'}).last();
    await stages.getByText('everybody who is left').waitFor();
    while ((await stages.getByRole('button', {name: /Remove stage/}).count()) > 1) {
        await stages
            .getByRole('button', {name: /Remove stage/})
            .last()
            .click();
    }
    await stages.getByLabel('Up to').fill('20');
    await stages.getByLabel('Of what').selectOption('count');
    await stages.getByLabel('Must succeed').fill('10');
    await stages.getByLabel('Watch for').fill('0');
    await stages.getByLabel('Then').selectOption('manual');
    await page.getByLabel(/When so many failed/).fill('20');
    await page.getByLabel('Not before so many have ended').fill('10');
    const dry = page.getByRole('complementary', {name: 'Dry run'});
    await dry
        .getByRole('listitem')
        .filter({hasText: 'Stage 1'})
        .getByText('20', {exact: true})
        .waitFor();
    await dry
        .getByRole('listitem')
        .filter({hasText: 'Stage 2'})
        .getByText('40', {exact: true})
        .waitFor();
    await page.getByRole('button', {name: 'Upgrade 60 devices'}).click();
    await dialog().getByText('60 devices of fleet are to run 0.0.2. They go in 2 stages').waitFor();
    await dialog().getByRole('button', {name: 'Start upgrade'}).click();
});

test('it stops by itself: told without a reload, with the failures by cause', async () => {
    await page.locator('.batch-head').getByText('paused').waitFor();
    await page.getByText('too many devices failed').waitFor();
    const failures = page.locator('.failures');
    await failures.getByText('checksum mismatch').waitFor();
    await failures.getByText('file missing').waitFor();
    await failures.getByText('from 0.0.1').first().waitFor();
    const {
        batches: [batch],
    } = await broker.call('listBatches');
    assert.deepEqual([batch.state, batch.stateReason], ['paused', 'failure_threshold']);
    await page.getByRole('link', {name: 'List the failed devices'}).click();
    await row(page, 'checksum mismatch (-4)').first().waitFor();
    await page.getByRole('button', {name: /upgrade failed \d+/, pressed: true}).waitFor();
});

test('a device explains itself', async () => {
    const {tasks} = await broker.call('listTasks', {product: 'fleet', status: 'task_waiting'});
    await visit(page, `/products/fleet/devices/${tasks[0].device}`);
    await page
        .locator('.explain')
        .getByText('batch 1 is paused by its failure threshold')
        .waitFor();
    await button('Hold');
    await page.getByText('is on hold: it is left out').waitFor();
    await button('Lift the hold');
    await page.getByText('takes part in upgrades again').waitFor();
});

test('resume, advance, retry, cancel: each says what it does and to how many', async () => {
    await visit(page, '/batches/1');
    await button('Open next stage');
    await dialog().getByText('Stage 2 opens now, with 40 devices').waitFor();
    await page.keyboard.press('Escape');
    await button('Change limits');
    await dialog()
        .getByLabel(/When so many failed/)
        .fill('100');
    await dialog().getByRole('button', {name: 'Save'}).click();
    await page.getByText('when 100 % failed').waitFor();
    await button('Resume');
    await dialog()
        .getByText(/devices that wait may get their message/)
        .waitFor();
    await dialog().getByRole('button', {name: 'Resume'}).click();
    await page.locator('.batch-head').getByText('running').waitFor();
    await page.getByText('Stage 1 succeeded and waits for you').waitFor();
    await page.locator('.batch-head').getByText('20 of 60 ended').waitFor();
    await button('Retry failed');
    await dialog()
        .getByText(/\d+ failed devices get a new attempt/)
        .waitFor();
    await page.keyboard.press('Escape');
    await button('Cancel batch');
    await dialog()
        .getByText(/40 devices that wait won't get 0.0.2/)
        .waitFor();
    await dialog().getByRole('button', {name: 'Cancel batch'}).click();
    await page.locator('.batch-head').getByText('cancelled').waitFor();
    await page.locator('.batch-head').getByText('60 of 60 ended').waitFor();
});

test('presence and versions change where one looks', async () => {
    await visit(page, '/products/fleet/devices?prefix=node-001');
    await row(page, 'node-001').getByText('online').waitFor();
    await fleet.end();
    await row(page, 'node-001').getByText('offline').waitFor();
    await broker.devices('fleet', {device: 'node-001', version: '7.7.7'});
    await row(page, 'node-001').getByText('7.7.7').waitFor();
    await row(page, 'node-001').getByText('online').waitFor();
});

test('what happens while the stream of events changes is seen', async () => {
    let letIn;
    const late = new Promise((resolve) => (letIn = resolve));
    await visit(page, '/products/fleet/devices');
    await page.route('**/api/v1/events*', async (route) => {
        await late;
        await route.continue();
    });
    await visit(page, '/products');
    await row(page, 'fleet').getByRole('cell', {name: '1', exact: true}).waitFor();
    await broker.firmware('fleet', '0.0.3');
    letIn();
    await row(page, 'fleet').getByRole('cell', {name: '2', exact: true}).waitFor();
});

test('without events the page asks again by itself', async () => {
    const other = await newPage(browser, broker);
    await other.route('**/api/v1/events*', (route) => route.abort());
    await logIn(other);
    await visit(other, '/products');
    await other.getByText('Every 5 seconds').waitFor();
    await broker.call('createProduct', {product: 'quiet'});
    await row(other, 'quiet').waitFor();
    // A busy server is asked again; what was shown stays.
    let busy = 2;
    await other.route('**/api/v1/control', (route) => {
        busy -= 1;
        return busy >= 0
            ? route.fulfill({status: 503, json: {error: {code: 'unavailable', message: 'busy'}}})
            : route.continue();
    });
    await other.evaluate(() => {
        new MutationObserver(() => {
            window.hidden ||= !document.querySelector('main table');
        }).observe(document.body, {childList: true, subtree: true});
    });
    await broker.call('createProduct', {product: 'later'});
    await row(other, 'later').waitFor();
    assert.deepEqual([busy < 0, await other.evaluate(() => window.hidden)], [true, false]);
    await other.end();
    await page.end();
});
