// SPDX-License-Identifier: BSD-3-Clause
// The seed's document, by clicks and in its words: adding firmware, single-device upgrade, batch.
import assert from 'node:assert/strict';
import {after, before, test as single} from 'node:test';
import {Broker} from './broker.mjs';
import {launch, logIn, newPage, row, settled, story} from './browser.mjs';

const test = story(single);
let broker;
let browser;
let page;

before(async () => {
    [broker, browser] = await Promise.all([Broker.start(), launch()]);
    page = await newPage(browser, broker);
});
after(async () => {
    await browser?.close();
    await broker?.stop();
});

const side = (name) =>
    page.getByRole('navigation', {name: 'Main'}).getByRole('link', {name}).click();
const tab = (name) => page.getByRole('link', {name, exact: true}).click();
const dialog = () => page.getByRole('dialog');
const file = (name, buffer) => ({name, mimeType: 'application/octet-stream', buffer});
const choose = (...files) => page.getByLabel('Firmware file').setInputFiles(files);

test('Product List: the first product', async () => {
    await logIn(page);
    await page.getByRole('heading', {name: 'No products yet'}).waitFor();
    await page.getByRole('button', {name: 'Add product'}).first().click();
    await dialog().getByLabel('Product name').fill('test product');
    await dialog().getByRole('button', {name: 'Add product'}).click();
    await dialog()
        .getByText(/letters, digits|1 to 32/)
        .nth(1)
        .waitFor(); // the server's sentence, at the field
    await dialog().getByLabel('Product name').fill('testProduct');
    await dialog().getByRole('button', {name: 'Add product'}).click();
    await page.getByRole('heading', {name: 'testProduct', level: 1}).waitFor();
});

test('Add Firmware: the rules stand there, and are judged', async () => {
    await side('Product List');
    await page.getByRole('link', {name: 'testProduct'}).click();
    await tab('Firmware List');
    await page.getByRole('button', {name: 'Add Firmware'}).first().click();
    const rules = dialog().getByRole('list', {name: 'Rules'});
    for (const words of [
        '1 to 32 English letters, numbers, dots, underscores and dashes',
        '.bin file or a .tar, .gz or .zip',
        '10 MB',
        'Up to 50',
    ]) {
        await rules.getByText(words).waitFor();
    }
    await dialog().getByLabel('Firmware version').fill('no blanks please');
    await choose(file('notes.txt', Buffer.from('text')));
    const broken = rules.locator('.broken');
    await broken.getByText('.bin file').waitFor();
    assert.equal(await broken.count(), 2);
    await dialog().getByRole('button', {name: 'Upload firmware'}).click();
    await dialog().getByRole('alert').getByText('The version must be').waitFor();
    await choose(file('pack.zip', Buffer.from('no archive at all')));
    await broken.getByText('really is what its name says').waitFor();
    const dropped = await page.evaluateHandle(() => {
        const data = new DataTransfer();
        data.items.add(new File(['x'], 'dropped.tar'));
        return data;
    });
    await page.locator('.drop').dispatchEvent('drop', {dataTransfer: dropped});
    await dialog().getByText('dropped.tar').waitFor();
    await choose(file('big.bin', Buffer.alloc(10485761)));
    await broken.getByText('at most 10 MB').waitFor();
});

test('Add Firmware: uploaded, it appears in the list', async () => {
    await dialog().getByLabel('Firmware version').fill('');
    await choose(file('sensor-0.0.2.bin', Buffer.alloc(700000, 'firmware')));
    assert.equal(await dialog().getByLabel('Firmware version').inputValue(), '0.0.2'); // guessed
    let pieces = 0;
    await page.route('**/uploads/**', (route) => {
        pieces += 1;
        return pieces === 2 ? route.abort() : route.continue(); // the second piece is lost on its way
    });
    await dialog().getByRole('button', {name: 'Upload firmware'}).click();
    await dialog().getByRole('progressbar', {name: 'Upload'}).waitFor();
    await dialog().waitFor({state: 'hidden'});
    const line = row(page, 'sensor-0.0.2.bin');
    await line.getByText('unsigned').waitFor();
    assert.equal(pieces, 4); // of 256 KB, one of them twice
    const {
        firmware: [stored],
    } = await broker.call('listFirmware', {product: 'testProduct'});
    assert.deepEqual(
        [stored.version, stored.size, stored.filename],
        ['0.0.2', 700000, 'sensor-0.0.2.bin'],
    );
    await page.getByText('Firmware 0.0.2 was added').waitFor();
});

test('Single-device upgrade: filter by version, Upgrade firmware', async () => {
    await broker.devices(
        'testProduct',
        {device: 'testDevice0'},
        '--speed',
        '500000',
        '--progress-ms',
        '100',
    );
    await side('Firmware Upgrade');
    await settled(page);
    const versions = page.getByLabel('Firmware version');
    await versions.getByText('0.0.1 – 1 device').waitFor({state: 'attached'}); // reported
    await versions.getByText('0.0.2 – 0 devices').waitFor({state: 'attached'}); // uploaded
    await versions.selectOption('0.0.2');
    await page.getByText('No device matches').waitFor();
    await versions.selectOption('0.0.1');
    await row(page, 'testDevice0').getByRole('button', {name: 'Upgrade firmware'}).click();
    await dialog().getByText('testDevice0 goes from 0.0.1 to 0.0.2').waitFor();
    await dialog().getByRole('button', {name: 'Upgrade firmware'}).click();
    await page.getByText('testDevice0 is being upgraded to 0.0.2.').waitFor();
});

test('Upgrade status list: live to the end, with its history', async () => {
    await tab('Upgrade status list');
    const line = row(page, 'testDevice0');
    await line.getByText('upgraded successfully').waitFor();
    await line.getByText('confirmed', {exact: true}).waitFor();
    await line.getByRole('link', {name: /Task \d+: history/}).click();
    const history = page.getByRole('list', {name: 'History'});
    for (const words of [
        'message successfully sent',
        'downloading',
        'upgrading',
        'upgraded successfully',
    ]) {
        await history.getByText(words).first().waitFor();
    }
});

test('Batch upgrade: all that match, followed to the end', async () => {
    await broker.firmware('testProduct', '0.0.3', 20000, {order: 7, signed: true});
    await broker.devices('testProduct', {device: 'hall-%02d', count: 8});
    await side('Firmware Upgrade');
    await settled(page);
    await page.getByLabel('Firmware version').selectOption('0.0.1');
    await page.getByText('8 devices run 0.0.1').waitFor();
    await page.getByRole('link', {name: 'Batch upgrade firmware'}).click();
    await page.getByText('8 devices would be upgraded to 0.0.3.').waitFor();
    await page.getByLabel('All at once').check();
    await page.getByLabel('Name').fill('night shift');
    await page.getByRole('button', {name: 'Upgrade 8 devices'}).click();
    await dialog().getByText('8 devices of testProduct are to run 0.0.3.').waitFor();
    await dialog().getByRole('button', {name: 'Start upgrade'}).click();
    await page.getByRole('heading', {name: 'night shift', level: 1}).waitFor();
    await page.getByText('8 of 8 ended').waitFor();
    await page.locator('.batch-head').getByText('finished').waitFor();
    await side('Firmware Upgrade');
    await tab('Upgrade status list');
    await page.getByRole('button', {name: 'upgraded successfully 9'}).click();
    await page.getByText('1–9').waitFor();
});

test('Versions: a picture of the fleet', async () => {
    await side('Product List');
    await page.getByRole('link', {name: 'testProduct'}).click();
    await tab('Versions');
    await page
        .getByRole('img', {name: 'Share of the fleet by version. 0.0.3: 88.9%, 0.0.2: 11.1%'})
        .waitFor();
});

test('Firmware is deleted after a question that says how many run it', async () => {
    await tab('Firmware List');
    await row(page, 'testProduct-0.0.3.bin').getByText('signed', {exact: true}).waitFor();
    await row(page, '0.0.2').getByRole('button', {name: 'Delete firmware 0.0.2'}).click();
    await dialog().getByText('1 device runs it and keeps running it').waitFor();
    await dialog().getByRole('button', {name: 'Delete firmware'}).click();
    await row(page, '0.0.2').waitFor({state: 'detached'});
    await page.end();
});
