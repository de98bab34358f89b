# server_webrick.rb PORT DIRECTORY: files, and POST /hash answers with a SHA-256.
require 'digest'
require 'webrick'

server = WEBrick::HTTPServer.new(
  Port: Integer(ARGV[0]), BindAddress: '127.0.0.1', DocumentRoot: ARGV[1],
  AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN), MaxClients: 50
)
server.mount_proc('/hash') do |request, response|
  response.body = Digest::SHA256.hexdigest(request.body)
end
trap('TERM') { server.shutdown }
server.start
