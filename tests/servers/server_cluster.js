// server_cluster.js PORT DIRECTORY: two workers; the primary accepts, and hands each
// connection on.  Files in chunked pieces; POST /hash answers with a SHA-256, which another
// program computes.  SIGHUP replaces the workers, SIGTERM ends all.
'use strict';
const { spawn } = require('child_process');
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');
const path = require('path');

const WORKERS = 2;
const PIECE = 1500;
const [port, directory] = process.argv.slice(2);

function primary() {
	let ending = false;

	const start = () => cluster.fork().on('message', (message, socket) => {
		if (socket)
			socket.end(`primary ${message.length}\n`);
	});

	cluster.schedulingPolicy = cluster.SCHED_RR;
	for (let i = 0; i < WORKERS; i++)
		start();
	cluster.on('exit', () => {
		if (ending && Object.keys(cluster.workers).length === 0)
			process.exit(0);
	});
	process.on('SIGHUP', () => {
		for (const old of Object.values(cluster.workers))
			start().once('listening', () => old.disconnect());
	});
	process.on('SIGTERM', () => {
		ending = true;
		for (const worker of Object.values(cluster.workers))
			worker.process.kill();
	});
}

function sendPieces(response, body) {
	for (let at = 0; at < body.length; at += PIECE)
		response.write(body.subarray(at, at + PIECE));
	response.end();
}

function sendHash(request, response) {
	const child = spawn('sha256sum');
	let said = '';

	request.pipe(child.stdin);
	child.stdout.on('data', (data) => said += data);
	child.on('close', () => response.end(said.slice(0, 64)));
}

function worker() {
	const files = new Map();

	for (const name of fs.readdirSync(directory))
		files.set('/' + name, fs.readFileSync(path.join(directory, name)));
	const server = http.createServer((request, response) => {
		const body = files.get(request.url);

		// Node 18 would keep a connection that lasts, and the worker with it.
		response.shouldKeepAlive &&= server.listening;
		if (request.method === 'POST' && request.url === '/hash')
			sendHash(request, response);
		else if (request.url === '/back')
			process.send('x'.repeat(5000), request.socket);
		else if (body !== undefined)
			sendPieces(response, body);
		else
			response.writeHead(404).end();
		// A worker that is being replaced may have no channel any more.
		if (process.connected)
			process.send({ served: request.url }, () => {});
	});
	server.keepAliveTimeout = 30000;
	server.listen(Number(port), '127.0.0.1', 512);
}

if (cluster.isPrimary)
	primary();
else
	worker();
