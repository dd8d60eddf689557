#!/usr/bin/python3
"""nova-consoleauth for tests: its RPC API 2.1 on the service class of an
installed nova, which no longer has that service (it left in Train)."""
import sys

import eventlet
eventlet.monkey_patch()

import oslo_messaging
from oslo_log import log
from nova import cache_utils, config, manager, objects, service
import nova.conf


class ConsoleAuth(manager.Manager):
    target = oslo_messaging.Target(version='2.1')

    def __init__(self, *args, **kwargs):
        super().__init__(service_name='consoleauth', *args, **kwargs)
        self.tokens = cache_utils.get_client(600)

    def authorize_console(self, context, token, **kwargs):
        self.tokens.set(token.encode(), 'known')

    def check_token(self, context, token):
        return self.tokens.get(token.encode())


if __name__ == '__main__':
    config.parse_args(sys.argv)
    log.setup(nova.conf.CONF, 'nova')
    objects.register_all()
    service.SERVICE_MANAGERS['nova-consoleauth'] = __name__ + '.ConsoleAuth'
    service.serve(service.Service.create(binary='nova-consoleauth', topic='consoleauth'))
    service.wait()
