#include "preprocess/annotation.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COORDINATE 1e6
#define MAX_TAG_BYTES  4096
/* Never NOENT, DTDLOAD, DTDATTR, XINCLUDE or HUGE: they make libxml2 read
 * other files or lift its limits (measured: 4.7 GB from a 0.6 KB file). */
#define PARSE_OPTIONS                                            \
    (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | \
     XML_PARSE_NOBLANKS | XML_PARSE_COMPACT)

/* What the reading functions share. */
struct reader {
    const char *path;
    struct annotation *a;
    struct findings *findings;
};

static xmlNode *child(const xmlNode *parent, const char *name)
{
    for (xmlNode *c = parent ? parent->children : NULL; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, name))
            return c;
    return NULL;
}

static int line_of(const xmlNode *node)
{
    return (int)xmlGetLineNo(node);
}

/* An element may be in `parent` once; of others the first is used. */
static void report_repeated(const struct reader *r, const xmlNode *parent,
                            const char *name)
{
    const xmlNode *first = child(parent, name), *second = first;
    int n = 0;
    for (const xmlNode *c = first; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE &&
            !strcmp((const char *)c->name, name) && ++n == 2)
            second = c;
    if (n > 1)
        findings_add(r->findings, FINDING_REPEATED, r->path, line_of(second),
                     "<%s> has %d <%s>; the first is used",
                     (const char *)parent->name, n, name);
}

static void add_text(struct text *t, const xmlNode *node)
{
    for (const xmlNode *c = node->children; c; c = c->next)
        if (c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE)
            text_add_bytes(t, c->content, strlen((const char *)c->content));
}

/* The element's own text without blanks around it, "" for NULL; owned. */
static char *text_of(const xmlNode *node)
{
    struct text t = {0};
    text_add_bytes(&t, "", 0);
    if (node)
        add_text(&t, node);
    char *trimmed = mem_copy_text(text_trim(t.bytes));
    free(t.bytes);
    return trimmed;
}

static char *text_of_children(const xmlNode *node)
{
    struct text t = {0};
    text_add_bytes(&t, "", 0);
    for (const xmlNode *c = node ? node->children : NULL; c; c = c->next) {
        if (c->type != XML_ELEMENT_NODE)
            continue;
        add_text(&t, c);
        text_add(&t, " ");
    }
    return t.bytes;
}

/* A number of pixels, or 0 where there is none. */
static int read_side(const xmlNode *node)
{
    double value = 0;
    char *text = text_of(node);
    bool ok = text_to_double(text, &value) && value > 0 &&
              value <= MAX_COORDINATE && value == floor(value);
    free(text);
    return ok ? (int)value : 0;
}

/* <difficult> is 0 or 1; anything that is not a number counts as 0. */
static bool read_flag(const xmlNode *node)
{
    double value = 0;
    char *text = text_of(node);
    bool ok = text_to_double(text, &value);
    free(text);
    return ok && value != 0;
}

static bool read_coordinate(const struct reader *r, const xmlNode *box,
                            const char *name, double *out)
{
    const xmlNode *node = child(box, name);
    if (!node) {
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(box),
                     "<bndbox> has no <%s>; the object is left out", name);
        return false;
    }
    report_repeated(r, box, name);
    char *text = text_of(node);
    bool ok = text_to_double(text, out) && fabs(*out) <= MAX_COORDINATE;
    if (!ok)
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(node),
                     "<%s> is \"%.40s\", not a number of pixels; the object is "
                     "left out",
                     name, text);
    free(text);
    return ok;
}

/* Is the box inside the first pixel? Then it was not meant in pixels. */
static bool is_fraction(const double box[4])
{
    return box[0] >= 0 && box[1] >= 0 && box[2] <= 1 && box[3] <= 1 &&
           box[0] < box[2] && box[1] < box[3];
}

static bool read_box(const struct reader *r, const xmlNode *object,
                     double box[4])
{
    static const char *const names[4] = {"xmin", "ymin", "xmax", "ymax"};
    const xmlNode *node = child(object, "bndbox");
    if (!node) {
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(object),
                     "<object> has no <bndbox>; the object is left out");
        return false;
    }
    report_repeated(r, object, "bndbox");
    for (int k = 0; k < 4; k++)
        if (!read_coordinate(r, node, names[k], &box[k]))
            return false;
    for (int k = 0; k < 2; k++) {
        if (box[k] <= box[k + 2])
            continue;
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(node),
                     "<%s> %g is greater than <%s> %g; the object is left out",
                     names[k], box[k], names[k + 2], box[k + 2]);
        return false;
    }
    if (is_fraction(box))
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(node),
                     "the box %g %g %g %g looks like shares of the image (0 to "
                     "1), not pixels; the object is left out",
                     box[0], box[1], box[2], box[3]);
    return !is_fraction(box);
}

/* What is wrong with a class name; NULL: nothing. */
static const char *name_problem(const char *name)
{
    if (!*name)
        return "has no <name>";
    if (strlen(name) > ANNOTATION_MAX_NAME)
        return "has a <name> that is too long";
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return "has a control character in its <name>";
    return NULL;
}

static void read_object(const struct reader *r, const xmlNode *node)
{
    char *name = text_join_blanks(text_of(child(node, "name")));
    const char *problem = name_problem(name);
    if (problem) {
        findings_add(r->findings, FINDING_OBJECT, r->path, line_of(node),
                     "<object> %s; the object is left out", problem);
        free(name);
        return;
    }
    report_repeated(r, node, "name");
    struct annotation_object *o = &r->a->objects[r->a->n_objects++];
    o->name = name;
    o->line = line_of(node);
    o->difficult = read_flag(child(node, "difficult"));
    o->has_box = read_box(r, node, o->box);
}

static enum vd_err read_objects(const struct reader *r, const xmlNode *root)
{
    int n = 0;
    for (const xmlNode *c = root->children; c; c = c->next)
        n += c->type == XML_ELEMENT_NODE &&
             !strcmp((const char *)c->name, "object");
    if (n > ANNOTATION_MAX_OBJECTS)
        return VD_FAIL(VD_DATA, "%s:%d: %d objects, more than the %d allowed",
                       r->path, line_of(root), n, ANNOTATION_MAX_OBJECTS);
    r->a->objects = mem_new((size_t)n, sizeof *r->a->objects);
    for (const xmlNode *c = root->children; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE &&
            !strcmp((const char *)c->name, "object"))
            read_object(r, c);
    return VD_OK;
}

static enum vd_err read_document(const struct reader *r, xmlDoc *doc)
{
    const xmlNode *root = xmlDocGetRootElement(doc);
    if (doc->intSubset || doc->extSubset)
        return VD_FAIL(VD_DATA,
                       "%s:1: has a document type declaration (DTD), which is "
                       "not accepted\nremove the <!DOCTYPE ...> part",
                       r->path);
    if (!root || strcmp((const char *)root->name, "annotation"))
        return VD_FAIL(VD_DATA,
                       "%s:%d: the root element is <%.40s>, not <annotation>",
                       r->path, root ? line_of(root) : 1,
                       root ? (const char *)root->name : "");
    const xmlNode *size = child(root, "size");
    r->a->folder = text_of(child(root, "folder"));
    r->a->filename = text_of(child(root, "filename"));
    r->a->source = text_of_children(child(root, "source"));
    r->a->width = read_side(child(size, "width"));
    r->a->height = read_side(child(size, "height"));
    return read_objects(r, root);
}

/*
 * libxml2 compares every attribute of a tag with all others: 256 KiB of them
 * took 1.8 s. So a start tag that long is refused before it is parsed. (Text
 * in an encoding that hides its '<' gets past this, and costs those seconds.)
 */
static bool has_long_tag(const char *bytes, size_t n)
{
    const char *end = bytes + n, *open = NULL;
    for (const char *p = bytes; p < end; p++) {
        if (*p == '<')
            open = p + 1 < end && p[1] != '!' && p[1] != '?' ? p : NULL;
        else if (*p == '>')
            open = NULL;
        if (open && p - open > MAX_TAG_BYTES)
            return true;
    }
    return false;
}

static enum vd_err fail_syntax(const char *path, const xmlParserCtxt *ctxt)
{
    const xmlError *e = &ctxt->lastError;
    char *cause = mem_copy_text(e->message ? e->message : "not XML");
    enum vd_err err =
        VD_FAIL(VD_DATA, "%s:%d: not well-formed XML: %.200s", path,
                e->line > 0 ? e->line : 1, text_trim(cause));
    free(cause);
    return err;
}

enum vd_err annotation_parse(struct annotation *a, const char *path,
                             const void *bytes, size_t n,
                             struct findings *findings)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* libxml2's own state */
    enum vd_err err = VD_OK;
    struct annotation read = {0};
    const struct reader r = {path, &read, findings};
    xmlDoc *doc = NULL;

    pthread_once(&once, xmlInitParser);
    xmlParserCtxt *ctxt = xmlNewParserCtxt();
    VD_ASSERT(ctxt);
    if (n == 0 || n > ANNOTATION_MAX_BYTES) {
        err = VD_FAIL(VD_DATA, "%s:1: %s", path,
                      n ? "more than 256 KiB of XML" : "the file is empty");
        goto out;
    }
    if (has_long_tag(bytes, n)) {
        err = VD_FAIL(VD_DATA, "%s:1: a tag of more than %d bytes", path,
                      MAX_TAG_BYTES);
        goto out;
    }
    doc = xmlCtxtReadMemory(ctxt, bytes, (int)n, "annotation.xml", NULL,
                            PARSE_OPTIONS);
    if (!doc) {
        err = fail_syntax(path, ctxt);
        goto out;
    }
    VD_TRY_ELSE(out, err, read_document(&r, doc));
    *a = read;
    read = (struct annotation){0};
out:
    annotation_clear(&read);
    xmlFreeDoc(doc);
    xmlFreeParserCtxt(ctxt);
    return err;
}

enum vd_err annotation_read(struct annotation *a, const char *path,
                            struct findings *findings)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, ANNOTATION_MAX_BYTES, &bytes, &n));
    enum vd_err err = annotation_parse(a, path, bytes, n, findings);
    free(bytes);
    return err;
}

void annotation_clear(struct annotation *a)
{
    for (int i = 0; i < a->n_objects; i++)
        free(a->objects[i].name);
    free(a->objects);
    free(a->folder);
    free(a->filename);
    free(a->source);
    *a = (struct annotation){0};
}
