# Files of $WWW in chunks, and POST /hash answers with a SHA-256.
require 'digest'

files = Dir.children(ENV['WWW']).to_h { |n| ["/#{n}", File.binread("#{ENV['WWW']}/#{n}")] }
run lambda { |env|
  if env['PATH_INFO'] == '/hash'
    [200, {}, [Digest::SHA256.hexdigest(env['rack.input'].read)]]
  elsif (body = files[env['PATH_INFO']])
    [200, {}, body.scan(/.{1,4000}/mn)]
  else
    [404, {}, []]
  end
}
