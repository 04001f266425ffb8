/* Shared by the tree*.c files. */
#ifndef VOCDIST_PREPROCESS_TREE_INTERNAL_H
#define VOCDIST_PREPROCESS_TREE_INTERNAL_H

#include "preprocess/tree.h"

/* Reads the lists "train,val" of a tree whose pictures are known; "": one
 * split of all pictures. */
enum vd_err tree_open_splits(struct tree *tree, const char *splits) VD_MUST_USE;
/* The same for tree_open_for_check(). */
enum vd_err tree_open_check_splits(struct tree *tree,
                                   const char *splits) VD_MUST_USE;

#endif
