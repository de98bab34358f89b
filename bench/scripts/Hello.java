import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** The JDK's own HTTP server with a small reply. Usage: java Hello PORT */
public class Hello {
	public static void main(String[] args) throws Exception {
		byte[] body = "Hello, world.\n".getBytes();
		InetSocketAddress where = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]));
		HttpServer server = HttpServer.create(where, 0);

		server.createContext("/", exchange -> {
			exchange.sendResponseHeaders(200, body.length);
			exchange.getResponseBody().write(body);
			exchange.close();
		});
		server.start();
	}
}
