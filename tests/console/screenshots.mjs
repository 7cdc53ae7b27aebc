// SPDX-License-Identifier: BSD-3-Clause
// The README's pictures, of a real run: node screenshots.mjs FOLDER (scripts/screenshots does it).
import {statSync} from 'node:fs';
import {join} from 'node:path';
import {Broker, until} from './broker.mjs';
import {launch, logIn, newPage, settled, visit} from './browser.mjs';

const FOLDER = process.argv[2];
const MOST_BYTES = 200 * 1024;

async function prepare(broker) {
    await broker.call('createProduct', {product: 'sensor', description: 'Air quality, indoors'});
    await broker.call('createProduct', {
        product: 'testProduct',
        description: 'What the manual is about',
    });
    await broker.call('createProduct', {
        product: 'lamp',
        description: 'Street lamps, second generation',
    });
    await broker.firmware('testProduct', '0.0.2', 700000);
    await broker.firmware('lamp', '1.0.0', 412000, {
        order: 1,
        signed: true,
        description: 'as shipped',
    });
    await broker.firmware('lamp', '1.0.1', 415500, {
        order: 2,
        signed: true,
        description: 'mends the clock',
    });
    await broker.firmware('lamp', '1.1.0', 428000, {
        order: 3,
        signed: true,
        description: 'dims by the minute',
    });
    await broker.devices(
        'testProduct',
        {device: 'testDevice0'},
        '--speed',
        '150000',
        '--progress-ms',
        '300',
    );
    const away = await broker.devices('lamp', {device: 'lamp-9%03d', count: 24, version: '1.0.0'});
    await away.end();
    await broker.devices(
        'lamp',
        {device: 'lamp-%04d', count: 190, version: '1.0.0'},
        '--mix',
        'ok=89,fail:-4=3,fail:-1=2,silent=2,slow:40000=4',
        '--fault-always',
        '--speed',
        '150000',
        '--burn-ms',
        '1500',
        '--progress-ms',
        '300',
    );
    await broker.devices('lamp', {device: 'lamp-1%03d', count: 46, version: '1.0.1'});
}

async function startBatch(broker) {
    await broker.call('createBatch', {
        product: 'lamp',
        version: '1.1.0',
        name: '1.1.0, first streets',
        target: {fromVersions: ['1.0.0']},
        ratePerMinute: 2400,
        failureThreshold: {percent: 30, minFinished: 20},
        stages: [
            {count: 10, minSuccessPercent: 70},
            {percent: 30, minSuccessPercent: 60},
            {percent: 100},
        ],
    });
    await until(async () => {
        const {batch} = await broker.call('getBatch', {batch: 1});
        return (
            batch.stages[1].state !== 'waiting' &&
            batch.stages[1].counts.succeeded > 10 &&
            batch.counts.failed > 0
        );
    }, 'a batch in its second stage');
}

async function main() {
    const [broker, browser] = await Promise.all([Broker.start(), launch()]);
    const pages = {
        light: await newPage(browser, broker, {viewport: {width: 1280, height: 800}}),
        dark: await newPage(browser, broker, {
            viewport: {width: 1280, height: 800},
            colorScheme: 'dark',
        }),
        phone: await newPage(browser, broker, {viewport: {width: 380, height: 760}}),
    };

    async function shoot(name, how, path, act) {
        const page = pages[how];
        await visit(page, path);
        await act?.(page);
        await settled(page);
        await page.mouse.move(0, 0);
        const file = join(FOLDER, `console-${name}.png`);
        await page.screenshot({path: file});
        const {size} = statSync(file);
        if (size > MOST_BYTES) {
            throw new Error(`${file} has ${size} bytes`);
        }
        console.log(`${file}: ${Math.round(size / 1024)} KB`);
    }

    try {
        await prepare(broker);
        await Promise.all(Object.values(pages).map((page) => logIn(page)));
        await shoot('products', 'light', '/products');
        await shoot('firmware', 'light', '/products/lamp/firmware');
        await shoot('add-firmware', 'light', '/products/testProduct/firmware', async (page) => {
            await page.getByRole('button', {name: 'Add Firmware'}).click();
            await page
                .getByLabel('Firmware file')
                .setInputFiles([
                    {name: 'sensor-0.0.3.bin', mimeType: 'x/y', buffer: Buffer.alloc(708482)},
                ]);
            await page.locator('.rules .kept').nth(4).waitFor();
        });
        await pages.light.keyboard.press('Escape');
        await shoot('upgrade', 'light', '/upgrade/lamp/devices?version=1.0.0');
        await shoot('batch-form', 'light', '/upgrade/lamp/batch?version=1.0.0', (page) =>
            page.getByText('would be upgraded to 1.1.0').waitFor(),
        );
        await startBatch(broker);
        await shoot('batch', 'light', '/batches/1');
        await shoot('batch-dark', 'dark', '/batches/1');
        await shoot('status', 'light', '/upgrade/lamp/tasks');
        await shoot('phone', 'phone', '/batches/1');
        const {
            tasks: [task],
        } = await broker.call('listTasks', {batch: 1, status: 'succeeded'});
        await shoot('task', 'light', `/tasks/${task.task}`);
        await shoot('device', 'light', `/products/lamp/devices/${task.device}`);
        await shoot('versions', 'light', '/products/lamp/versions');
        await shoot('audit', 'light', '/audit');
    } finally {
        await browser.close();
        await broker.stop();
    }
}

await main();
