# C types for tape.py where Cython compiles it.
cimport cython

cdef class TensorBase:
    cdef public object _data
    cdef public object _grad
    cdef public bint _leaf
    cdef public long _version
    cdef public Node node
    cdef object __weakref__

cdef class Node:
    cdef readonly str op
    cdef public tuple parents
    cdef public tuple saved
    cdef tuple checks
    cdef public dict attrs
    cdef readonly tuple shape
    cdef readonly object dtype

@cython.locals(tensor=TensorBase, base=TensorBase)
cdef TensorBase _record(str op, object data, tuple inputs, tuple saved, dict attrs)

@cython.locals(node=Node)
cdef Node _node(str op, object data, tuple inputs, tuple saved, dict attrs)

@cython.locals(base=TensorBase)
cdef object _parent(object x)

@cython.locals(base=TensorBase)
cdef object _check(object x)

@cython.locals(node=Node, gradients=dict)
cpdef backward(TensorBase root, object gradient=*)

cdef object _start_gradient(TensorBase root, object gradient)

@cython.locals(node=Node, uses=dict, stack=list, order=list)
cdef list _order(object start)

@cython.locals(gradients=tuple, i=Py_ssize_t)
cdef tuple _pull(Node node, object dy)

@cython.locals(i=Py_ssize_t, base=TensorBase)
cdef object _check_saved(Node node, object rule)

@cython.locals(base=TensorBase)
cdef object _accumulate(dict gradients, object start_gradient)
