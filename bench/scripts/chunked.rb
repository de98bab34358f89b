# WEBrick with a chunked reply. Usage: ruby chunked.rb PORT
require "stringio"
require "webrick"

server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: ARGV[0].to_i, AccessLog: [],
  Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN)
)
server.mount_proc("/") do |_request, response|
  response.chunked = true
  response["Content-Type"] = "text/plain"
  response.body = StringIO.new("Hello, world.\n")
end
trap("TERM") { server.shutdown }
server.start
