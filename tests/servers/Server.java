import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;

/** Server PORT DIRECTORY: files in pieces, POST /hash answers with a SHA-256. */
public class Server {
	private static final int PIECE = 1500;
	private static final int THREADS = 8;

	private static byte[] hash(InputStream in) throws Exception {
		MessageDigest digest = MessageDigest.getInstance("SHA-256");
		byte[] buffer = new byte[700];
		StringBuilder text = new StringBuilder();

		for (int n; (n = in.read(buffer)) > 0;)
			digest.update(buffer, 0, n);
		for (byte b : digest.digest())
			text.append(String.format("%02x", b));
		return text.toString().getBytes();
	}

	private static void answer(HttpExchange exchange, byte[] body) throws IOException {
		/* Length 0: in chunks. */
		exchange.sendResponseHeaders(200, body.length % 2 == 0 ? 0 : body.length);
		try (OutputStream out = exchange.getResponseBody()) {
			for (int at = 0; at < body.length; at += PIECE) {
				out.write(body, at, Math.min(PIECE, body.length - at));
				if (at / PIECE % 3 == 0)
					out.flush();
			}
		}
	}

	public static void main(String[] args) throws Exception {
		Map<String, byte[]> files = new ConcurrentHashMap<>();
		HttpServer server = HttpServer.create(
				new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 512);

		try (var list = Files.newDirectoryStream(Path.of(args[1]))) {
			for (Path path : list)
				files.put("/" + path.getFileName(), Files.readAllBytes(path));
		}
		server.setExecutor(Executors.newFixedThreadPool(THREADS));
		server.createContext("/", exchange -> {
			try {
				String path = exchange.getRequestURI().getPath();

				answer(exchange, path.equals("/hash") ? hash(exchange.getRequestBody())
								      : files.get(path));
			} catch (Exception problem) {
				problem.printStackTrace();
				exchange.close();
			}
		});
		server.start();
	}
}
