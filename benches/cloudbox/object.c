/*
 * The peer of the bench's row `bus`: an object on libubus and libubox with one trivial method.
 *
 *   object SOCKET PATH
 */
#include <libubox/blobmsg.h>
#include <libubox/uloop.h>
#include <libubus.h>

static int ping(struct ubus_context *ctx, struct ubus_object *obj, struct ubus_request_data *req,
		const char *method, struct blob_attr *msg)
{
	static struct blob_buf b;

	blob_buf_init(&b, 0);
	blobmsg_add_u32(&b, "ok", 1);
	return ubus_send_reply(ctx, req, b.head);
}

static const struct ubus_method methods[] = { UBUS_METHOD_NOARG("ping", ping) };
static struct ubus_object_type type = UBUS_OBJECT_TYPE("bench", methods);
static struct ubus_object object = { .type = &type, .methods = methods, .n_methods = ARRAY_SIZE(methods) };

int main(int argc, char **argv)
{
	struct ubus_context *ctx;

	if (argc != 3)
		return 2;
	uloop_init();
	ctx = ubus_connect(argv[1]);
	if (!ctx)
		return 1;
	ubus_add_uloop(ctx);
	object.name = argv[2];
	if (ubus_add_object(ctx, &object))
		return 1;
	uloop_run();
	ubus_free(ctx);
	uloop_done();
	return 0;
}
