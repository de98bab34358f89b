// server.js PORT DIRECTORY: files in chunked pieces, POST /hash answers with a SHA-256.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');

const PIECE = 1500;
const [port, directory] = process.argv.slice(2);
const files = new Map();

for (const name of fs.readdirSync(directory))
	files.set('/' + name, fs.readFileSync(path.join(directory, name)));

function sendPieces(response, body) {
	if (body.length >= 65536) {
		response.end(body);
		return;
	}
	for (let at = 0; at < body.length; at += PIECE)
		response.write(body.subarray(at, at + PIECE));
	response.end();
}

function sendHash(request, response) {
	const hash = crypto.createHash('sha256');

	request.on('data', (data) => hash.update(data));
	request.on('end', () => response.end(hash.digest('hex')));
}

const server = http.createServer((request, response) => {
	const body = files.get(request.url);

	if (request.method === 'POST' && request.url === '/hash')
		sendHash(request, response);
	else if (body !== undefined)
		sendPieces(response, body);
	else
		response.writeHead(404).end();
});

process.on('SIGTERM', () => server.close(() => process.exit(0)));
server.listen(Number(port), '127.0.0.1', 512);
