/*
 * Reads one VOC annotation:
 *
 *   1. check_bytes() checks size, encoding, DTD and number of attributes before
 *      libxml2 reads the file; this bounds the time that libxml2 takes
 *   2. libxml2 parses the bytes into a tree, without entities or other files
 *   3. read_document() reads the fields by element name
 *
 * An unusable file is an error. An unusable object is a diagnostic with its
 * line, and reading continues. The caller's struct is written on success only.
 */
#include "preprocess/annotation.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_COORDINATE 1e6
#define MAX_ATTRIBUTES 8000
/* Never NOENT, DTDLOAD, DTDATTR, XINCLUDE or HUGE: they make libxml2 read
 * other files or lift its limits (measured: 4.7 GB from a 0.6 KB file). */
#define PARSE_OPTIONS                                            \
    (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | \
     XML_PARSE_NOBLANKS | XML_PARSE_COMPACT | XML_PARSE_BIG_LINES)

struct annotation_reader {
    const char *path;
    struct annotation *a;
    struct diagnostics *diagnostics;
};

static xmlNode *xml_child(const xmlNode *parent, const char *name)
{
    for (xmlNode *c = parent ? parent->children : NULL; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, name))
            return c;
    return NULL;
}

static int xml_line(const xmlNode *node)
{
    return (int)xmlGetLineNo(node);
}

/* Adds a diagnostic if `parent` has the element more than once. */
static void report_repeated(const struct annotation_reader *r,
                            const xmlNode *parent, const char *name)
{
    const xmlNode *first = xml_child(parent, name), *second = first;
    int n = 0;
    for (const xmlNode *c = first; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE &&
            !strcmp((const char *)c->name, name) && ++n == 2)
            second = c;
    if (n > 1)
        diagnostics_add(r->diagnostics, DIAGNOSTIC_REPEATED, r->path,
                        xml_line(second), "<%s> has %d <%s>; the first is used",
                        (const char *)parent->name, n, name);
}

static void add_element_text(struct text *t, const xmlNode *node)
{
    for (const xmlNode *c = node->children; c; c = c->next)
        if (c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE)
            text_add_bytes(t, c->content, strlen((const char *)c->content));
}

/* The element's own text, trimmed; "" for NULL. Owned. */
static char *text_of(const xmlNode *node)
{
    struct text t = {0};
    text_add_bytes(&t, "", 0);
    if (node)
        add_element_text(&t, node);
    char *trimmed = xstrdup(text_trim(t.bytes));
    free(t.bytes);
    return trimmed;
}

/* The texts of all child elements, a blank after each. Owned. */
static char *text_of_children(const xmlNode *node)
{
    struct text t = {0};
    text_add_bytes(&t, "", 0);
    for (const xmlNode *c = node ? node->children : NULL; c; c = c->next) {
        if (c->type != XML_ELEMENT_NODE)
            continue;
        add_element_text(&t, c);
        text_add(&t, " ");
    }
    return t.bytes;
}

/* A whole number of pixels; 0 if missing or invalid. */
static int read_pixel_count(const xmlNode *node)
{
    double value = 0;
    char *text = text_of(node);
    bool ok = text_to_double(text, &value) && value > 0 &&
              value <= MAX_COORDINATE && value == floor(value);
    free(text);
    return ok ? (int)value : 0;
}

/* <difficult> is 0 or 1; text that is not a number counts as 0. */
static bool read_flag(const xmlNode *node)
{
    double value = 0;
    char *text = text_of(node);
    bool ok = text_to_double(text, &value);
    free(text);
    return ok && value != 0;
}

static bool read_coordinate(const struct annotation_reader *r,
                            const xmlNode *box, const char *name, double *out)
{
    const xmlNode *node = xml_child(box, name);
    if (!node) {
        diagnostics_add(r->diagnostics, DIAGNOSTIC_OBJECT, r->path,
                        xml_line(box),
                        "<bndbox> has no <%s>; the object is left out", name);
        return false;
    }
    report_repeated(r, box, name);
    char *text = text_of(node);
    bool ok = text_to_double(text, out) && fabs(*out) <= MAX_COORDINATE;
    if (!ok)
        diagnostics_add(
            r->diagnostics, DIAGNOSTIC_OBJECT, r->path, xml_line(node),
            "<%s> is \"%.40s\", not a number of pixels; the object is "
            "left out",
            name, text);
    free(text);
    return ok;
}

/* A box inside the first of several pixels is in normalized coordinates. */
static bool is_fraction(const struct annotation *a, const double box[4])
{
    bool is_pixel = a->width == 1 && a->height == 1;
    return !is_pixel && box[0] >= 0 && box[1] >= 0 && box[2] <= 1 &&
           box[3] <= 1 && box[0] < box[2] && box[1] < box[3];
}

static bool read_box(const struct annotation_reader *r, const xmlNode *object,
                     double box[4])
{
    static const char *const names[4] = {"xmin", "ymin", "xmax", "ymax"};
    const xmlNode *node = xml_child(object, "bndbox");
    if (!node) {
        diagnostics_add(r->diagnostics, DIAGNOSTIC_OBJECT, r->path,
                        xml_line(object),
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
        diagnostics_add(
            r->diagnostics, DIAGNOSTIC_OBJECT, r->path, xml_line(node),
            "<%s> %g is greater than <%s> %g; the object is left out", names[k],
            box[k], names[k + 2], box[k + 2]);
        return false;
    }
    if (is_fraction(r->a, box))
        diagnostics_add(
            r->diagnostics, DIAGNOSTIC_OBJECT, r->path, xml_line(node),
            "the box %g %g %g %g looks normalized (0 to 1), not in pixels; the "
            "object is left out",
            box[0], box[1], box[2], box[3]);
    return !is_fraction(r->a, box);
}

/* The problem with a class name; NULL if there is none. */
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

static void read_object(const struct annotation_reader *r, const xmlNode *node)
{
    char *name = text_collapse_spaces(text_of(xml_child(node, "name")));
    const char *problem = name_problem(name);
    if (problem) {
        diagnostics_add(r->diagnostics, DIAGNOSTIC_OBJECT, r->path,
                        xml_line(node), "<object> %s; the object is left out",
                        problem);
        free(name);
        return;
    }
    report_repeated(r, node, "name");
    struct annotation_object *o = &r->a->objects[r->a->n_objects++];
    o->name = name;
    o->line = xml_line(node);
    o->difficult = read_flag(xml_child(node, "difficult"));
    o->has_box = read_box(r, node, o->box);
}

static enum vd_err read_annotation_objects(const struct annotation_reader *r,
                                           const xmlNode *root)
{
    int n = 0;
    for (const xmlNode *c = root->children; c; c = c->next)
        n += c->type == XML_ELEMENT_NODE &&
             !strcmp((const char *)c->name, "object");
    if (n > ANNOTATION_MAX_OBJECTS)
        return VD_FAIL(VD_DATA, "%s:%d: %d objects, more than the %d allowed",
                       r->path, xml_line(root), n, ANNOTATION_MAX_OBJECTS);
    r->a->objects = xcalloc((size_t)n, sizeof *r->a->objects);
    for (const xmlNode *c = root->children; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE &&
            !strcmp((const char *)c->name, "object"))
            read_object(r, c);
    return VD_OK;
}

static enum vd_err fail_doctype(const char *path)
{
    return VD_FAIL(VD_DATA,
                   "%s:1: has a document type declaration (DTD), which is not "
                   "accepted\nremove the <!DOCTYPE ...> part",
                   path);
}

static enum vd_err read_document(const struct annotation_reader *r, xmlDoc *doc)
{
    const xmlNode *root = xmlDocGetRootElement(doc);
    if (doc->intSubset || doc->extSubset)
        return fail_doctype(r->path);
    if (!root || strcmp((const char *)root->name, "annotation"))
        return VD_FAIL(VD_DATA,
                       "%s:%d: the root element is <%.40s>, not <annotation>",
                       r->path, root ? xml_line(root) : 1,
                       root ? (const char *)root->name : "");
    const xmlNode *size = xml_child(root, "size");
    r->a->folder = text_of(xml_child(root, "folder"));
    r->a->filename = text_of(xml_child(root, "filename"));
    r->a->source = text_of_children(xml_child(root, "source"));
    r->a->width = read_pixel_count(xml_child(size, "width"));
    r->a->height = read_pixel_count(xml_child(size, "height"));
    return read_annotation_objects(r, root);
}

/* ---- before parsing ---- */

/*
 * Parts of libxml2 take quadratic time: it compares every attribute of a tag
 * with all others (1.8 s for 28,000 attributes) and appends every declaration
 * of a DTD to a list. So this file counts attributes by their '=' and rejects
 * DTDs before it calls libxml2. It does so in a copy without NUL bytes, in
 * which UTF-16 markup reads like ASCII. It rejects encodings that can hide
 * these characters, such as EBCDIC and UTF-7.
 */
static bool is_known_encoding(const char *name)
{
    static const char *const starts[] = {
        "utf-8", "utf8",     "utf-16",   "utf16",   "us-ascii", "ascii",
        "latin", "iso-8859", "iso_8859", "iso8859", "windows-", "cp125",
        "cp874", "cp932",    "cp936",    "cp949",   "cp950",    "gb",
        "big5",  "euc-",     "shift_",   "ks_c",    "koi8-",    "tis-",
    };
    for (size_t k = 0; k < sizeof starts / sizeof *starts; k++)
        if (!strncasecmp(name, starts[k], strlen(starts[k])))
            return true;
    return false;
}

/* The unknown encoding that the XML declaration names; NULL if there is none.
 * Not terminated: it points into `text`. */
static const char *find_unknown_encoding(const char *text)
{
    static const char ebcdic[] = "\x4c\x6f\xa7\x94"; /* its "<?xm" */
    if (!strncmp(text, ebcdic, 4))
        return "EBCDIC";
    if (!strncmp(text, "\xef\xbb\xbf", 3))
        text += 3;
    else if (!strncmp(text, "\xff\xfe", 2) || !strncmp(text, "\xfe\xff", 2))
        text += 2;
    const char *end = strstr(text, "?>");
    if (strncmp(text, "<?xml", 5) != 0 || !end)
        return NULL;
    for (const char *at = text; (at = strstr(at, "encoding")) && at < end;) {
        at += strlen("encoding");
        at += strspn(at, " \t\r\n=\"'");
        if (!is_known_encoding(at))
            return at;
    }
    return NULL;
}

static size_t count_byte(const char *text, char byte)
{
    size_t n = 0;
    for (const char *at = text; (at = strchr(at, byte)); at++)
        n++;
    return n;
}

static char *without_nul(const char *bytes, size_t n)
{
    char *text = xcalloc(n + 1, 1), *to = text;
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            *to++ = bytes[i];
    return text;
}

static enum vd_err check_bytes(const char *path, const char *bytes, size_t n)
{
    enum vd_err err = VD_OK;
    if (n == 0 || n > ANNOTATION_MAX_BYTES)
        return VD_FAIL(VD_DATA, "%s:1: %s", path,
                       n ? "more than 4 MiB of XML" : "the file is empty");
    char *text = without_nul(bytes, n);
    const char *unknown = find_unknown_encoding(text);
    if (unknown)
        err =
            VD_FAIL(VD_DATA,
                    "%s:1: encoding \"%.*s\" is not accepted\nsave it as UTF-8",
                    path, (int)strcspn(unknown, "\"'? \t\r\n"), unknown);
    else if (strstr(text, "<!DOCTYPE"))
        err = fail_doctype(path);
    else if (count_byte(text, '=') > MAX_ATTRIBUTES)
        err = VD_FAIL(VD_DATA, "%s:1: more than %d attributes", path,
                      MAX_ATTRIBUTES);
    free(text);
    return err;
}

/* ---- parsing ---- */

static enum vd_err fail_syntax(const char *path, xmlParserCtxt *ctxt)
{
    const xmlError *e = xmlCtxtGetLastError(ctxt); /* may be NULL */
    char *cause = xstrdup(e && e->message ? e->message : "not XML");
    enum vd_err err =
        VD_FAIL(VD_DATA, "%s:%d: not well-formed XML: %.200s", path,
                e && e->line > 0 ? e->line : 1, text_trim(cause));
    free(cause);
    return err;
}

enum vd_err annotation_parse(struct annotation *a, const char *path,
                             const void *bytes, size_t n,
                             struct diagnostics *diagnostics)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* libxml2's own state */
    enum vd_err err = VD_OK;
    struct annotation read = {0};
    const struct annotation_reader r = {path, &read, diagnostics};
    xmlDoc *doc = NULL;

    pthread_once(&once, xmlInitParser);
    xmlParserCtxt *ctxt = xmlNewParserCtxt();
    VD_ASSERT(ctxt);
    VD_TRY_GOTO(out, err, check_bytes(path, bytes, n));
    doc = xmlCtxtReadMemory(ctxt, bytes, (int)n, "annotation.xml", NULL,
                            PARSE_OPTIONS);
    if (!doc) {
        err = fail_syntax(path, ctxt);
        goto out;
    }
    VD_TRY_GOTO(out, err, read_document(&r, doc));
    *a = read;
    read = (struct annotation){0};
out:
    annotation_clear(&read);
    xmlFreeDoc(doc);
    xmlFreeParserCtxt(ctxt);
    return err;
}

enum vd_err annotation_read(struct annotation *a, const char *path,
                            struct diagnostics *diagnostics)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, ANNOTATION_MAX_BYTES, &bytes, &n));
    enum vd_err err = annotation_parse(a, path, bytes, n, diagnostics);
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
