// Makes docs/postman_collection.json of docs/openapi.json: the operations in the order in
// which a client meets them, each with its assertions. What is not in `walk` comes at the end
// and is only checked to answer as described.
const fs = require('fs');
const { convertV2 } = require('openapi-to-postmanv2');

const [source, target] = process.argv.slice(2);
const document = JSON.parse(fs.readFileSync(source, 'utf8'));
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, ...operation })));

const PRODUCT = { id: '{{productId}}' };
const ORDER = { id: '{{orderId}}' };
const one = (quantity) => ({ product_id: '{{productId}}', quantity });
const keep = (name, expression) => `pm.collectionVariables.set('${name}', ${expression});`;
const is = (expression, value) =>
    `pm.test('${expression} is ${value}', () => pm.expect(${expression}).to.eql(${JSON.stringify(value)}));`;

// Operation, expected status, what differs from its example, and what to check and keep.
const walk = [
    ['Shop', 'createProduct', 201, { body: { name: 'Desk lamp, oak', price: '19.99', stock: 5 } },
        [keep('productId', 'body.id'), keep('etag', "pm.response.headers.get('ETag')"), is('body.stock', 5)]],
    ['Shop', 'getProduct', 200, { path: PRODUCT }, [is('body.price', '19.99')]],
    ['Shop', 'listProducts', 200, { query: { search: 'LAMP', page_size: '5' } }, [is('body.items.length > 0', true)]],
    ['Shop', 'patchProduct', 200, { path: PRODUCT, headers: { 'If-Match': '{{etag}}' }, body: { price: '17.49' } },
        [is('body.price', '17.49')]],
    ['Shop', 'patchProduct', 412, { name: 'Change it from a version that is gone', path: PRODUCT,
        headers: { 'If-Match': '{{etag}}' }, body: { price: '1.00' } }, [is('body.code', 'version_mismatch')]],
    ['Shop', 'replaceProduct', 200, { path: PRODUCT, body: { name: 'Desk lamp, ash', price: '21.50' } },
        [is('body.name', 'Desk lamp, ash'), is('body.stock', 5)]],
    ['Shop', 'adjustStock', 200, { path: PRODUCT, body: { delta: 5, reason: 'delivery' } }, [is('body.stock', 10)]],
    ['Shop', 'getProductCached', 200, { path: PRODUCT }, [is('body.stock', 10)]],
    ['Buy at once', 'purchase', 201, { body: one(2) }, [keep('orderId', 'body.id'), is('body.total_price', '43.00')]],
    ['Buy at once', 'getOrder', 200, { path: ORDER }, [is('body.status', 'success')]],
    ['Buy at once', 'purchase', 409, { name: 'Buy more than there is', body: one(9) },
        [is('body.code', 'insufficient_stock'), is('body.available', 8)]],
    ['Buy at once', 'cancelOrder', 200, { path: ORDER }, [is('body.status', 'cancelled')]],
    ['Buy at once', 'followOrder', 200, { path: ORDER },
        ["pm.test('the stream ends with the final state', () => pm.expect(pm.response.text()).to.include('cancelled'));"]],
    ['Order in the background', 'acceptOrder', 200, { headers: { Prefer: 'wait=10' }, body: one(1) },
        [keep('orderId', 'body.id'), is('body.status', 'success')]],
    ['Order in the background', 'getOrderStatus', 200, { path: ORDER }, [is('body.status', 'success')]],
    ['Order in the background', 'acceptOrders', 202, { body: { orders: [one(1), one(0)] } },
        [is('body.accepted', 1), is('body.rejected', 1)]],
    ['Order in the background', 'listOrders', 200, { query: { product_id: '{{productId}}', page: '1' } },
        [is('body.total', 3)]],
    ['Clean up', 'archiveProduct', 204, { path: PRODUCT }, []],
    ['Clean up', 'getProduct', 404, { name: 'Read what is archived', path: PRODUCT },
        [is('body.code', 'product_not_found')]],
    ['Clean up', 'watchProduct', 404, { name: 'Watch what is archived', path: PRODUCT },
        [is('body.code', 'product_not_found')]],
    ['Server', 'health', 200, {}, [is('body.status', 'ok')]],
    ['Server', 'ready', 200, {}, [is('body.database', 'up')]],
    ['Server', 'cacheStats', 200, {}, []],
];

/** The requests of a folder, or of the folders in it. */
const requests = (items) => items.flatMap((item) => (item.item ? requests(item.item) : [item]));

/** Takes away what the converter makes anew each time. */
function withoutIds(value) {
    if (Array.isArray(value)) return value.map(withoutIds);
    if (value === null || typeof value !== 'object') return value;
    const kept = Object.entries(value).filter(([name]) => name !== '_postman_id');
    return Object.fromEntries(kept.map(([name, inner]) => [name, withoutIds(inner)]));
}

function script(operation, status, checks) {
    const described = status ? [status] : Object.keys(operation.responses).map(Number);
    return [
        `pm.test('answers ${described.join(' or ')}', () => pm.expect(pm.response.code).to.be.oneOf(${JSON.stringify(described)}));`,
        "pm.test('names the request', () => pm.response.to.have.header('X-Request-Id'));",
        ...(checks.some((check) => check.includes('body.')) ? ['const body = pm.response.json();'] : []),
        ...checks,
    ];
}

function step(converted, operation, status, changes, checks) {
    const path = operation.path.replaceAll(/{(\w+)}/g, ':$1');
    const item = structuredClone(converted.find(({ request }) =>
        request.method === operation.method && `/${request.url.path.join('/')}` === path));
    const { request } = item;
    delete item.id;
    delete item.response;
    delete request.auth;
    item.name = request.name = changes.name ?? operation.summary;
    for (const variable of request.url.variable ?? []) {
        variable.value = changes.path?.[variable.key] ?? variable.value;
    }
    request.url.query = Object.entries(changes.query ?? {}).map(([key, value]) => ({ key, value }));
    request.header = (request.header ?? []).filter(({ key }) => ['Content-Type', 'Accept'].includes(key));
    request.header.push(...Object.entries(changes.headers ?? {}).map(([key, value]) => ({ key, value })));
    if (changes.body) request.body.raw = JSON.stringify(changes.body, null, 2);
    item.event = [{ listen: 'test', script: { type: 'text/javascript', exec: script(operation, status, checks) } }];
    return item;
}

convertV2({ type: 'json', data: document }, { folderStrategy: 'Tags', parametersResolution: 'Example' }, (error, made) => {
    if (error || !made.result) throw error ?? new Error(made.reason);
    const collection = made.output[0].data;
    const converted = requests(collection.item);
    const rest = operations.filter(({ operationId }) => !walk.some((each) => each[1] === operationId));
    const all = [...walk, ...rest.map(({ operationId }) => ['The rest', operationId, null, {}, []])];
    const folders = new Map(all.map(([name]) => [name, []]));
    for (const [folder, id, status, changes, checks] of all) {
        const operation = operations.find(({ operationId }) => operationId === id);
        if (!operation) throw new Error(`there is no operation ${id}`);
        folders.get(folder).push(step(converted, operation, status, changes, checks));
    }
    collection.item = [...folders].map(([name, item]) => ({ name, item }));
    collection.auth = { type: 'bearer', bearer: [{ key: 'token', value: '{{key}}', type: 'string' }] };
    const values = { baseUrl: 'http://127.0.0.1:8000', key: '', productId: '', orderId: '', etag: '' };
    collection.variable = Object.entries(values).map(([key, value]) => ({ key, value }));
    fs.writeFileSync(target, `${JSON.stringify(withoutIds(collection), null, 2)}\n`);
});
